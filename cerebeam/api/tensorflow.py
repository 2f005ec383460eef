"""Shards as a tf.data dataset, decoded by TensorFlow's own operations."""

from pathlib import Path
from typing import TYPE_CHECKING

from signals.shards.manifest import read_manifest

if TYPE_CHECKING:
    import tensorflow as tf


def tf_dataset(shards: Path | str) -> "tf.data.Dataset":
    """Return the windows of a local shard set in stored order: dicts of one window each, to shuffle, batch, map.

    signal: µV, float32, shape (n_chans, n_times), not normalised; ch_state: 0 absent, 1 interpolated, 2 measured,
    uint8, shape (n_chans,); votes: float32, shape (n_classes,) or (0,); label, subject_id, site_id, key: strings.
    Split by subject_id, never by window. Raises signals.shards.manifest.ManifestError for a folder that is no finished
    shard set.
    """
    import tensorflow as tf

    folder = Path(shards)
    paths = [str(folder / shard.path) for shard in read_manifest(folder).shards]
    records = tf.data.TFRecordDataset(paths, compression_type="SNAPPY")
    return records.map(decoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def decoded(record: "tf.Tensor") -> dict[str, "tf.Tensor"]:
    """Return a serialised window's fields; `signals.shards.records.decode_window` is the same without TensorFlow."""
    import tensorflow as tf

    text, numbers = tf.io.FixedLenFeature([], tf.string), tf.io.VarLenFeature(tf.float32)
    fields = tf.io.parse_single_example(
        record,
        {
            "signal": text, "ch_state": text, "label": text, "subject_id": text, "site_id": text, "key": text,
            "votes": numbers, "step": numbers, "shape": tf.io.FixedLenFeature([2], tf.int64),
        },
    )  # fmt: skip
    # All low bytes of the int16 values come first, then all high bytes.
    low, high = tf.unstack(tf.reshape(tf.io.decode_raw(fields["signal"], tf.uint8), [2, -1]))
    values = tf.bitcast(tf.stack([low, high], axis=-1), tf.int16)
    steps = tf.sparse.to_dense(fields["step"])[:, None]  # one, or one per channel
    return {
        "signal": tf.cast(tf.reshape(values, fields["shape"]), tf.float32) * steps,
        "ch_state": tf.io.decode_raw(fields["ch_state"], tf.uint8),
        "votes": tf.sparse.to_dense(fields["votes"]),
        **{name: fields[name] for name in ("label", "subject_id", "site_id", "key")},
    }
