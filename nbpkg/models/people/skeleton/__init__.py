"""Networks over skeletons of several people: graphs of joints, graph convolutions, who is there."""
