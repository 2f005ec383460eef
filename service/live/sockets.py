"""The sockets of live beds: samples in, answers and alarms out."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.live.bed import Bed
from service.live.frames import BED, Begin, read_begin, read_samples, write_samples
from service.notice import RESEARCH
from service.records import streams
from service.records.alarms import list_alarms
from service.records.tables import LiveHop, LiveStream
from service.refusals import Refusal
from service.security.tokens import require
from service.web.request import passage_of, server_of
from service.web.routes.alarms import alarm_fields
from service.web.sending import POLICY_VIOLATION, TRY_AGAIN_LATER, until_left
from service.web.server import Server
from signals.montage.labels import parse_label
from signals.streams.stream import AFTER_S

router = APIRouter()
_SIGNAL_S, _LOOK_EVERY, _PATIENCE_S = 0.25, 20, 5.0
_MOST_LAST = 3600
_SHOWN_S = 10.0
"""A viewer that is further behind misses samples; answers and alarms it gets all the same."""


@router.websocket("/live/{bed}/in")
async def samples_in(socket: WebSocket, bed: str) -> None:
    """Take a source's samples; a Refusal is its last frame."""
    await socket.accept()
    server, one = server_of(socket), None
    try:
        require(passage_of(socket).caller, "operator")
        begin = read_begin(await _json(socket))
        one = await to_thread.run_sync(lambda: _open(server, bed, begin, passage_of(socket).caller.subject))
        await socket.send_json({"type": "resume", "next_sample": one.next_sample})
        await _take(socket, server, one)
    except Refusal as refusal:
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.send_json({"type": "error", **refusal.body})
            await socket.close(POLICY_VIOLATION)
    except (WebSocketDisconnect, RuntimeError, TimeoutError, KeyError):  # it went, stayed silent, or sent bytes first
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(POLICY_VIOLATION)
    finally:
        if one is not None:
            server.ward.disconnect(one)


def _open(server: Server, name: str, begin: Begin, subject: str) -> Bed:
    """Return the bed of a stream, at the place where the records end; raises Refusal."""
    if not BED.fullmatch(name):
        raise Refusal(422, "invalid_frame", "a bed has 1 to 80 letters, digits, blanks, dots or dashes")
    owner = server.house.owner(begin.model)
    if owner.model.spectrogram_shape is not None:
        raise Refusal(422, "does_not_fit", "this model reads ten minutes of spectrogram, which a stream has not")
    server.ward.check_free(name, begin.stream)
    rate = owner.model.bundle.profile.signal.sfreq
    if not (begin.hop_s * rate).is_integer() or not (begin.hop_s * begin.sfreq).is_integer():
        raise Refusal(422, "invalid_hop", "hop_s is no whole number of samples of the stream and of the model")
    row = LiveStream(
        id=begin.stream, bed=name, owner=subject, ch_names=list(begin.ch_names), sfreq=begin.sfreq, hop_s=begin.hop_s,
        model=owner.model.name, begun_at=time.time(), ended_at=None,
    )  # fmt: skip
    row = streams.begin_stream(server.engine, row)
    bed = Bed(row, owner.model, server.engine, lambda windows: server.house.submit(owner, windows, deadline=None))
    server.ward.connect(bed)
    return bed


async def _take(socket: WebSocket, server: Server, bed: Bed) -> None:
    """Take samples until the source ends or goes; each message is acknowledged when its outcomes are committed."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if server.ward.bed(bed.row.bed) is not bed:
            raise Refusal(409, "bed_taken", "the same stream was opened again", "one connection a stream")
        raw = message.get("bytes")
        if raw is None:
            if _parsed(message.get("text") or "").get("type") != "end":
                raise Refusal(422, "invalid_frame", 'a text frame is {"type": "end"}', "docs/live.md")
            hops = await to_thread.run_sync(bed.finish)
            await socket.send_json(_ack(bed, hops) | {"type": "ended"})
            await socket.close()
            return
        first, x_uv = read_samples(raw, n_chans=len(bed.row.ch_names), sfreq=bed.row.sfreq, next_sample=bed.next_sample)
        hops = await to_thread.run_sync(bed.feed, x_uv, first)
        await socket.send_json(_ack(bed, hops))


def _ack(bed: Bed, hops: list[LiveHop]) -> dict[str, Any]:
    span_s = bed.model.bundle.profile.label_span_s
    answers = [hop_fields(hop) | {"read_as": read_as(hop, span_s)} for hop in hops]
    return {"type": "ack", "next_sample": bed.next_sample, "answers": answers}


def hop_fields(hop: LiveHop) -> dict[str, Any]:
    """Return a hop's outcome as frames show it."""
    names = ("stream_id", "start_s", "stop_s", "answer", "reason", "abstained", "plan_version", "model_digest")
    return {"seq": hop.id, **{name: getattr(hop, name) for name in names}, "answered_at": hop.answered_at}


def read_as(hop: LiveHop, span_s: tuple[float, float] | None) -> dict[str, tuple[float, float]]:
    """Return the seconds of the stream that an answer is about, by each way to read it.

    "centred": those that the label speaks of, `span_s` from the window's start. "right_aligned": as many at its end:
    the same answer read as being about now, earlier and less accurate (docs/results/serving.md has both).
    """
    start, stop = span_s or (0.0, hop.stop_s - hop.start_s)
    return {
        "centred": (hop.start_s + start, hop.start_s + stop),
        "right_aligned": (hop.stop_s - (stop - start), hop.stop_s),
    }


@router.websocket("/live/{bed}")
async def watch(socket: WebSocket, bed: str, after: int = 0, last: int = 0) -> None:
    """Send a bed's answers behind a number, its alarms whenever they change, and its newest samples.

    `last` in place of `after`: the newest so many answers, and what follows.
    """
    passage, server = passage_of(socket), server_of(socket)
    if (
        not BED.fullmatch(bed)
        or not passage.caller.may("reader")
        or not 0 <= after < 1 << 62
        or not 0 <= last <= _MOST_LAST
    ):
        await socket.close(POLICY_VIOLATION)
        return
    await socket.accept()
    if last:
        after = await to_thread.run_sync(lambda: streams.hop_before(server.engine, bed, last=last))
    leaving = asyncio.create_task(until_left(socket))
    view = _View(socket, server, bed, after)
    try:
        while not leaving.done():
            await asyncio.wait_for(view.send(), _PATIENCE_S)
            await asyncio.wait([leaving], timeout=_SIGNAL_S)
    except TimeoutError:  # who does not read is left; the others do not notice
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(TRY_AGAIN_LATER)
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        leaving.cancel()


class _View:
    """What one viewer has seen."""

    def __init__(self, socket: WebSocket, server: Server, bed: str, after: int) -> None:
        self._socket, self._server, self._name, self._after = socket, server, bed, after
        self._alarms: list[dict[str, Any]] | None = None
        self._version, self._looks = -1, 0
        self._stream, self._at = "", 0
        self._spans: dict[str, tuple[float, float] | None] = {}
        """The label's seconds by stream."""

    async def send(self) -> None:
        """Send what is new: outcomes and alarms whole, samples as far as they are not too old."""
        bed = self._server.ward.bed(self._name)
        if bed is not None and bed.row.id != self._stream:
            await self._begin(bed)
        self._looks += 1
        version = -1 if bed is None else bed.version
        if version != self._version or self._looks % _LOOK_EVERY == 1:
            self._version = version
            await self._send_records()
        if bed is not None:
            await self._send_samples(bed)

    async def _begin(self, bed: Bed) -> None:
        profile, row = bed.model.bundle.profile, bed.row
        span = profile.label_span_s or (0.0, profile.window_s)
        self._stream, self._at = row.id, bed.next_sample
        await self._socket.send_json({
            "type": "stream", "stream": row.id, "ch_names": row.ch_names,
            "electrodes": [_electrode(name) for name in row.ch_names], "sfreq": row.sfreq, "hop_s": row.hop_s,
            "window_s": profile.window_s, "label_span_s": span, "latency_floor_s": profile.window_s - span[1] + AFTER_S,
            "notice": RESEARCH,
        })  # fmt: skip

    async def _send_records(self) -> None:
        engine, name = self._server.engine, self._name
        while hops := await to_thread.run_sync(lambda: streams.hops_of_bed(engine, name, after=self._after)):
            for hop in hops:
                await self._socket.send_json({"type": "answer", **hop_fields(hop), "read_as": await self._read_as(hop)})
                self._after = hop.id
        alarms = [
            alarm_fields(one) for one in await to_thread.run_sync(lambda: list_alarms(engine, bed=name, limit=50))
        ]
        if alarms != self._alarms:
            await self._socket.send_json({"type": "alarms", "alarms": alarms})
            self._alarms = alarms

    async def _read_as(self, hop: LiveHop) -> dict[str, tuple[float, float]] | None:
        """Return the seconds that an answer is about; None where its model is not served any more."""
        if hop.stream_id not in self._spans:
            name = await to_thread.run_sync(lambda: streams.model_of(self._server.engine, hop.stream_id))
            try:
                self._spans[hop.stream_id] = self._server.house.owner(name).model.bundle.profile.label_span_s
            except Refusal:
                return None
        return read_as(hop, self._spans[hop.stream_id])

    async def _send_samples(self, bed: Bed) -> None:
        stop = bed.next_sample
        start = max(self._at, stop - round(_SHOWN_S * bed.row.sfreq))
        x_uv = bed.stream.recent(start, stop)
        if x_uv.shape[1]:
            await self._socket.send_bytes(write_samples(stop - x_uv.shape[1], x_uv))
        self._at = stop


def _electrode(name: str) -> str | None:
    """Return the electrode that a channel measures against a reference; None for a pair and for anything else."""
    derivation = parse_label(name)
    return derivation.anode if derivation is not None and derivation.cathode is None else None


async def _json(socket: WebSocket) -> Any:
    return _parsed(await asyncio.wait_for(socket.receive_text(), _PATIENCE_S))


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Refusal(422, "invalid_frame", "a text frame is no JSON", "docs/live.md shows every frame") from None
    return value if isinstance(value, dict) else {}
