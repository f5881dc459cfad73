"""Networks that say where a person in a picture looks: VTD and Gaze-LLE."""
