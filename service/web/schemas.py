"""What requests and answers look like, for /openapi.json; bodies themselves are read by service.web.bodies."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.live.pauses import KINDS


class ErrorForm(BaseModel):
    """What every refusal is."""

    error: str
    code: str = Field(description="for programs; a reader's reason code as it is")
    hint: str


class WindowAnswerForm(BaseModel):
    """The answer to one window."""

    start_s: float
    stop_s: float
    predicted_class: str
    class_probabilities: dict[str, float]
    confidence: float
    uncertainty: float = Field(description="entropy as a share of the largest possible one, 0 to 1")
    uncertainty_parts: dict[str, float | None] = Field(description="nats; total, aleatoric, epistemic")
    prediction_set: list[str] | None
    abstained: bool
    clinical_recommendation: str
    model: str
    model_digest: str
    notice: str


class PredictionsForm(BaseModel):
    """Answers in the order of the samples."""

    predictions: list[WindowAnswerForm]


class JobForm(BaseModel):
    """A recording that was accepted."""

    id: str
    state: str = Field(description="accepted, running, done or failed")
    model: str
    hop_s: float
    n_done: int
    n_windows: int = Field(description="0 before it is known")
    created_at: float
    finished_at: float | None
    study_id: str | None = Field(description="of a recording of the configured folder; an upload has none")
    code: str
    error: str


class ChannelForm(BaseModel):
    """A channel as its file names it."""

    name: str
    kind: str
    sfreq: float


class StudyForm(BaseModel):
    """A recording of the configured folder that was opened."""

    id: str
    recording: str = Field(description="its name in GET /recordings")
    source_sha256: str = Field(description="empty before a job has read all of it")
    opened_at: float
    duration_s: float = Field(description="from the first sample to the last, gaps counted")
    channels: list[ChannelForm]
    segments: list[tuple[float, float]] = Field(description="onset_s and stop_s of each gap-free stretch")
    notes: list[str]


class ReviewGiven(BaseModel):
    """A review as a reviewer sends it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    start_s: float = Field(description="from the recording's first sample")
    stop_s: float
    label: str = Field(max_length=80, description="a class of a served model")
    confidence: float | None = Field(default=None, ge=0, le=1)


class ReviewForm(BaseModel):
    """A review as it is kept."""

    id: str
    study_id: str
    reviewer: str
    created_at: float
    start_s: float
    stop_s: float
    label: str
    confidence: float | None
    withdrawn_at: float | None


class AlarmForm(BaseModel):
    """One episode at one bed."""

    id: str
    bed: str
    kind: str = Field(description="physiological or technical")
    severity: str = Field(description="low, medium or high: the worst so far")
    condition: str
    onset_s: float = Field(description="from the first sample of its stream")
    raised_at: float
    cleared_at: float | None
    acknowledged_at: float | None
    acknowledged_by: str
    model: str
    model_digest: str


NUMBERS = {"type": "array", "items": {"type": "number"}}
SAMPLE: dict[str, Any] = {
    "type": "object",
    "required": ["eeg_data"],
    "additionalProperties": False,
    "properties": {
        "eeg_data": {"type": "array", "items": NUMBERS, "description": "19 x 10000, µV at 200 Hz"},
        "spectrogram_data": {
            "type": "array", "items": {"type": "array", "items": NUMBERS},
            "description": "in the shape that the model reads; refused by one that reads none",
        },
        "sfreq": {"type": "number", "default": 200, "minimum": 30, "maximum": 20000},
        "ch_names": {"type": "array", "items": {"type": "string"}, "description": "labels of the rows"},
    },
}  # fmt: skip
BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["samples"],
    "additionalProperties": False,
    "properties": {"samples": {"type": "array", "items": SAMPLE, "minItems": 1}},
}
NAMED: dict[str, Any] = {
    "type": "object",
    "required": ["recording"],
    "additionalProperties": False,
    "properties": {
        "recording": {"type": "string", "description": "one of GET /recordings"},
        "hop_s": {"type": "number", "default": 10},
        "model": {"type": "string"},
    },
}
OPENED: dict[str, Any] = {
    "type": "object",
    "required": ["recording"],
    "additionalProperties": False,
    "properties": {"recording": {"type": "string", "description": "one of GET /recordings"}},
}
PAUSE: dict[str, Any] = {
    "type": "object",
    "required": ["kind"],
    "additionalProperties": False,
    "properties": {
        "kind": {"type": "string", "enum": list(KINDS)},
        "seconds": {"type": "number", "minimum": 1, "description": "at most 600; of audio off, 12 hours"},
    },
}
INFER: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": {"type": "object"}}},
}


def body(schema: dict[str, Any]) -> dict[str, Any]:
    """Return OpenAPI's description of a JSON body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


BYTES_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorForm} for code in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 504, 507)
}
