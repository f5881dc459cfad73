"""Contracts of the tables about human and machine attention."""

from __future__ import annotations

from nbpkg.tables.columns import (
    END,
    FLAG,
    INTEGER,
    LABEL,
    NUMBER,
    SESSION,
    SPAN,
    START,
    TASK,
    TEXT,
    VARIABLE,
    Column,
    Contract,
)

_SNIPPET = Column("snippet_id", TEXT, "name of the snippet")
_PAINTER = Column("painter", TEXT, "person who paints")
_SOURCES = ("network", "random network", "uniform", "centre", "other snippet", "motion", "human")
_SOURCE = Column(
    "source", TEXT, "whose map: a network's, a control's, or a person's (the human ceiling)", allowed=_SOURCES
)
_METHOD = Column("method", TEXT, "explanation method; empty for maps of no network")
_CONDITIONS = ("matching", "opposite", "")
_CONDITION = Column(
    "condition",
    TEXT,
    "whether the explained class is the raters' consensus; empty for maps that explain no class",
    allowed=_CONDITIONS,
)
_METRIC = Column("metric", TEXT, "measure of similarity")
_LEVEL = Column("level", TEXT, "the whole clip at once, or the mean over its frames", allowed=("clip", "frame"))

ATTENTION: tuple[Contract, ...] = (
    Contract(
        "snippets",
        "Clips chosen to be painted, on whose label all raters agree.",
        (
            _SNIPPET,
            SESSION,
            TASK,
            VARIABLE,
            START,
            END,
            LABEL,
            Column("raters", INTEGER, "raters who agree on the label", least=1),
            Column("painted", FLAG, "whether strokes existed before it was chosen"),
        ),
        key=("snippet_id",),
        before=SPAN,
    ),
    Contract(
        "queue",
        "Who is to paint which snippet, and when.",
        (_SNIPPET, _PAINTER, Column("position", INTEGER, "place in the painter's order, from 0", least=0)),
        key=("snippet_id", "painter"),
    ),
    Contract(
        "paintings",
        "How far each painter is with each snippet.",
        (
            _SNIPPET,
            _PAINTER,
            Column("state", TEXT, "how far it is", allowed=("todo", "begun", "done", "skipped")),
            Column("frames", INTEGER, "frames that can be painted", least=0),
            Column("painted_frames", INTEGER, "frames with paint", least=0),
            Column("strokes", INTEGER, "strokes that were kept", least=0),
            Column("seconds", NUMBER, "working time, seconds"),
            Column("reason", TEXT, "why it was skipped; else empty"),
        ),
        key=("snippet_id", "painter"),
    ),
    Contract(
        "answers",
        "What painters answered while they painted.",
        (
            _SNIPPET,
            _PAINTER,
            Column("question", TEXT, "what was asked"),
            Column("value", TEXT, "the answer"),
        ),
        key=("snippet_id", "painter", "question"),
    ),
    Contract(
        "maps",
        "Attention maps of networks, and where they lie.",
        (
            _SNIPPET,
            TASK,
            VARIABLE,
            Column("source", TEXT, "the trained network or its random twin", allowed=_SOURCES[:2]),
            Column("method", TEXT, "explanation method"),
            Column("target", INTEGER, "class explained", least=0),
            Column("condition", TEXT, "whether that class is the raters' consensus", allowed=_CONDITIONS[:2]),
            Column("layer", TEXT, "layer explained; empty for methods of the input"),
            Column("file", TEXT, "file in the run folder"),
            Column("entry", TEXT, "name of the map in that file"),
            Column("minimum", NUMBER, "smallest value, on the method's own scale"),
            Column("maximum", NUMBER, "largest value"),
            Column("probability", NUMBER, "probability the network gives the explained class"),
            Column("predicted", INTEGER, "class the network answers", least=0),
        ),
        key=("snippet_id", "source", "method", "target"),
    ),
    Contract(
        "comparisons",
        "How alike each map and the painters' maps of its snippet are.",
        (
            _SNIPPET,
            SESSION,
            TASK,
            VARIABLE,
            LABEL,
            _SOURCE,
            _METHOD,
            _CONDITION,
            _METRIC,
            _LEVEL,
            Column("value", NUMBER, "mean over the human maps compared with; NaN when undefined"),
            Column("frames", INTEGER, "frames of the clip", least=0),
            Column("frames_defined", INTEGER, "frames in which the measure is defined", least=0),
            Column("references", INTEGER, "human maps compared with", least=0),
        ),
        key=("snippet_id", "source", "method", "condition", "metric", "level"),
    ),
    Contract(
        "attention",
        "Likeness of maps and people over all snippets, with interval, chance and human ceiling.",
        (
            TASK,
            VARIABLE,
            Column("source", TEXT, "whose map, or a difference of two"),
            _METHOD,
            Column("condition", TEXT, "matching, opposite, their difference, or empty"),
            _METRIC,
            _LEVEL,
            Column("direction", TEXT, "which way is better", allowed=("higher", "lower")),
            Column("value", NUMBER, "mean over snippets; NaN when undefined"),
            Column("low", NUMBER, "lower bound of the 95 % interval, bootstrap over sessions"),
            Column("high", NUMBER, "upper bound of the 95 % interval"),
            Column("chance", NUMBER, "the best of the controls that see no network"),
            Column("chance_of", TEXT, "which control that is"),
            Column("ceiling", NUMBER, "one painter against the others; NaN when there is one painter"),
            Column("n", INTEGER, "snippets", least=0),
            Column("n_groups", INTEGER, "sessions", least=0),
            Column("reason", TEXT, "why a number is missing; else empty"),
        ),
        key=("task", "variable", "source", "method", "condition", "metric", "level"),
    ),
    Contract(
        "faithfulness",
        "What the network does when places are removed or shown by a map's order, or its weights are drawn anew.",
        (
            _SNIPPET,
            SESSION,
            TASK,
            VARIABLE,
            _METHOD,
            Column("test", TEXT, "what was done", allowed=("deletion", "insertion", "randomisation")),
            Column("step", NUMBER, "share of the clip removed or shown, or of the layers drawn anew"),
            Column("value", NUMBER, "probability of the class, or rank correlation with the map before"),
            Column("note", TEXT, "whose order: map or random order; for randomisation, what was drawn anew"),
        ),
        key=("snippet_id", "method", "test", "note", "step"),
    ),
)
