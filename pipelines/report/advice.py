"""What to do about each reason code and each note, in a line for whoever sent the files."""

ADVICE = {
    "missing_file": "A side file (.eeg, .fdt) is gone: copy it beside its header.",
    "unsupported_format": "Convert to EDF, or declare its layout (docs/readers.md).",
    "not_what_it_says": "A git-lfs pointer or a text file under a recording’s name: fetch the real file.",
    "corrupt_header": "Header and file size contradict each other: export it again.",
    "no_samples": "A header without a whole data record: export it again.",
    "reader_crashed": "The reading library failed; the private list says how. Export it again or convert to EDF.",
    "missing_library": "Install what the private list names: pip install 'cerebeam[formats]'.",
    "reader_timeout": "The reading library did not finish. Export it again or convert to EDF.",
    "no_eeg_channels": "No label names a 10-20 electrode: rename the channels.",
    "bipolar_montage": "The pairs connect too few electrodes: export it referential.",
    "undefined_reference": "The profile’s reference cannot be made of these channels: choose average.",
    "implausible_amplitude": "1-35 Hz activity beyond 1 mV or below 0.2 µV: correct the unit in the header.",
    "unusable_rate": "Below 30 Hz, above 100 kHz or no manageable ratio: correct the header’s rate, or resample.",
    "too_short": "Shorter than one window: nothing to do, or choose a profile of shorter windows.",
    "too_few_channels": "Fewer measured channels than the profile asks for: use a profile that takes them.",
    "label_out_of_range": "A label’s window lies across a gap or outside: correct the onset in the label file.",
    "internal_error": "A fault of ours: the private list names it, the log says where. Please report it.",
    "mostly_missing": "More than half of the window’s samples are missing in the source: nothing to do.",
    "flat": "Every measured channel is flat throughout: check whether the amplifier was connected.",
}
"""By reason code of a file (`signals.recording.recording.READ_REASONS`) or a window (`signals.windows.prepare.WINDOW_REASONS`)."""

NOTES = {
    "duplicate_labels": "two channels of one name; the first was used",
    "dropped_channels": "channels of no usable rate or size were left aside",
    "dc_offset": "the device adds a constant of thousands of µV; it was taken off",
    "gaps": "interrupted; windows never reach across a gap",
    "mixed_references": "channels were recorded against several references; all were brought to the profile’s",
    "bad_channels_repaired": "electrodes bad in most of the recording; they were interpolated, and marked so",
    "bad_channels_kept": "electrodes bad in most of the recording; too few others to interpolate them from",
    "bids_bad_channels": "channels.tsv calls channels bad; they were left out and interpolated",
    "bids_channels_unmatched": "channels.tsv names none of the file’s channels; it was left aside",
    "bids_sfreq_disagrees": "eeg.json gives another sampling rate than the file; the file was believed",
    "bids_sidecar_unreadable": "a BIDS sidecar cannot be read; it was left aside",
    "bids_unit_disagrees": "channels.tsv gives another unit than the file; the file was believed",
    "bids_units": "the file names no unit; that of channels.tsv was taken",
    "mixed_rates": "channels of several rates; those of the commonest were used",
    "missing_records": "the header promises more data records than the file holds; those that are there were used",
    "n_records_unknown": "the header does not say how many data records follow; they were counted",
    "name_disagrees": "the content is another format than the name says; the content was believed",
    "truncated_last_record": "the last data record is cut short; what is whole of it was used",
    "trailing_bytes": "more bytes than the header promises; the rest was left aside",
    "unit_guessed": "the header names no unit; µV was assumed and found plausible",
    "unit_not_electric": "channels in a unit that is no voltage count as other sensors",
}
"""By note of a recording (`Recording.notes`); a note without a line here is shown by its name."""
