"""Every sentence and every row of docs/training.md and docs/training_internals.md names the tests that hold it."""

# ruff: noqa: E501  (a row of the table is one thing)

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent

PAGES = ("training.md", "training_internals.md")
HELD: list[tuple[str, str]] = [
    # How a run is configured
    ("Several nodes:", "training/test_multinode.py::test_the_examples_start_agents_alike"),
    ("`--recipe` names a configuration", "training/recipes/test_sections.py::test_a_recipe_is_frozen_sections_with_a_docstring_for_every_field"),
    ("`--optim.batch 32`, `--model.no-graph`", "training/recipes/test_sections.py::test_every_option_is_named_by_its_section"),
    ("The sections are the same in pretraining", "training/test_claims.py::test_every_command_takes_the_sections_as_options_and_states_what_they_mean"),
    ("they apply to every model that trains by a recipe", "studies/engine/test_study.py::test_settings_of_recipes_hold_for_every_model_that_trains"),
    ("`--help` lists all of them", "training/test_claims.py::test_every_command_takes_the_sections_as_options_and_states_what_they_mean"),
    ("Pretraining and fine-tuning print", "training/recipes/test_sections.py::test_what_is_resolved_is_printed_and_stored"),
    *((f"| `{section}` |", "training/recipes/test_sections.py::test_every_option_that_the_pages_name_is_one")
      for section in ("model", "data", "objective", "optim", "schedule", "regularise", "augment")),
    ("| `track` |", "training/recipes/test_sections.py::test_only_what_changes_no_step_may_change_when_a_run_goes_on"),
    ("Started again with the same options", "training/test_pretrain.py::test_resumed_run_equals_the_whole_one_bit_for_bit"),
    ("A larger `--schedule.steps` prolongs", "training/test_pretrain.py::test_a_finished_run_is_prolonged_and_a_new_one_starts_from_its_weights"),
    ("may change as well:", "training/recipes/test_sections.py::test_only_what_changes_no_step_may_change_when_a_run_goes_on"),
    ("Any other difference is refused, by name", "training/test_pretrain.py::test_other_configuration_in_the_same_folder_is_refused"),
    ("`--init-from DIR` starts", "training/test_claims.py::test_a_new_run_starts_from_an_encoder"),
    ("continue in the middle of a fit", "training/test_resuming.py::test_a_fit_goes_on_where_a_signal_stopped_it"),
    ("all studies and `training.distil` continue", "studies/engine/test_study.py::test_a_study_goes_on_in_the_middle_of_a_fit"),
    ("The state is stored next to the metrics", "training/test_resuming.py::test_a_fit_goes_on_where_a_signal_stopped_it"),
    ("The state is refused if recipe, windows", "training/test_resuming.py::test_the_state_of_another_fit_is_refused"),
    # A step
    ("is the one trainer of pretraining", "training/trainer/test_start.py::test_every_option_of_a_step_reaches_the_trainer_of_every_kind_of_run"),
    ("The objective defines what is counted", "training/test_ranks.py::test_any_split_of_a_batch_gives_the_same_step"),
    ("Counts are summed over micro-batches", "training/test_ranks.py::test_any_split_of_a_batch_gives_the_same_step"),
    ("Every process runs its micro-batches", "training/parallel/test_distributed.py::test_gradients_are_summed_over_torch_processes"),
    ("Each term is a sum", "training/trainer/test_train.py::test_a_step_averages_over_windows_whatever_the_micro_batches"),
    ("During the last backward pass", "training/parallel/test_gradients.py::test_buckets_travel_while_the_last_backward_pass_goes_on_and_not_before"),
    ("The processes agree on three questions", "training/test_interruptions.py::test_what_happens_on_one_process_is_heard_by_all"),
    ("was any of them requested to stop", "training/trainer/test_train.py::test_stop_in_the_middle_of_accumulation_changes_nothing"),
    ("Gradients are clipped", "training/trainer/test_train.py::test_a_step_averages_over_windows_whatever_the_micro_batches"),
    ("Any split of a batch", "training/test_ranks.py::test_any_split_of_a_batch_gives_the_same_step"),
    ("Two things depend on the split", "training/parallel/test_batch_norm.py::test_any_share_of_windows_gives_the_statistics_and_gradients_of_one_process"),
    ("Gradient sums equal those of torch", "training/parallel/test_gradients.py::test_sums_are_those_of_torch_s_own_parallel_with_no_sync"),
    ("It rearranges its buckets", "training/parallel/test_gradients.py::test_four_processes_that_go_on_end_with_the_same_bits"),
    ("The class itself is not used", "training/parallel/test_gradients.py::test_four_processes_that_go_on_end_with_the_same_bits"),
    ("a process that fails in it leaves the others", "training/parallel/test_gradients.py::test_nobody_waits_for_a_process_that_gives_less"),
    ("`--optim.sharing shard` (pretraining)", "training/parallel/test_sharding.py::test_two_processes_take_the_steps_of_one"),
    ("Each writes its slices of a checkpoint", "training/test_pretrain.py::test_a_model_that_two_processes_share_is_saved_in_slices_and_goes_on_in_one"),
    ("two processes take the steps of one", "training/parallel/test_sharding.py::test_two_processes_take_the_steps_of_one"),
    ("Every forward and backward pass is then a collective", "training/parallel/test_sharding.py::test_a_signal_at_any_process_stops_all_before_the_step"),
    ("a window that counts nothing", "training/parallel/test_batch_norm.py::test_a_window_that_goes_along_counts_nothing"),
    # What happens, what the run does
    ("| a loss or gradient is not finite", "training/test_interruptions.py::test_what_happens_on_one_process_is_heard_by_all"),
    ("| out of memory on any process", "training/test_interruptions.py::test_what_happens_on_one_process_is_heard_by_all"),
    ("| SIGTERM or SIGINT, at any moment", "training/test_pretrain.py::test_sigterm_saves_and_ends_with_the_code_to_resume"),
    ("| SIGTERM or SIGINT, at any moment", "training/test_interruptions.py::test_sigterm_while_a_checkpoint_is_written_in_the_background"),
    ("| the same before the first step", "training/test_interruptions.py::test_a_signal_before_the_first_step_or_while_the_end_is_scored"),
    ("| a checkpoint or the log cannot be written", "training/test_interruptions.py::test_a_full_disk_ends_in_one_line_and_what_was_saved_is_whole"),
    ("| the newest checkpoint is damaged", "training/trainer/test_checkpoints.py::test_damaged_newest_falls_back_and_logs_it"),
    ("| kill -9, power cut", "training/test_resuming.py::test_a_killed_fit_goes_on_from_its_last_checkpoint"),
    ("| a worker under torchrun is killed", "training/parallel/test_distributed.py::test_a_start_does_not_see_what_dead_processes_left_in_the_store"),
    ("| a record cannot be read", "training/test_interruptions.py::test_a_run_stops_where_too_much_is_damaged"),
    ("| a record cannot be read", "training/test_interruptions.py::test_fine_tuning_ends_at_a_record_that_cannot_be_read"),
    ("| shards, recipe or checkpoint version differ", "training/trainer/test_checkpoints.py::test_other_schema_version_is_refused"),
    ("| fewer windows in a step than processes", "training/corpus/test_order.py::test_more_processes_than_windows_of_a_step_are_refused"),
    # Corpora
    ("`--shards` takes folders", "training/corpus/test_corpus.py::test_any_file_system_will_do"),
    ("`gs://` through google-cloud-storage", "training/corpus/test_corpus.py::test_google_storage_will_do"),
    ("Opening a corpus reads manifests only", "training/corpus/test_corpus.py::test_opening_reads_manifests_alone_and_a_window_its_own_record"),
    ("The index of each shard", "training/corpus/test_corpus.py::test_opening_reads_manifests_alone_and_a_window_its_own_record"),
    ("It is read when a window", "training/corpus/test_corpus.py::test_opening_reads_manifests_alone_and_a_window_its_own_record"),
    ("only its own record is decoded", "training/corpus/test_corpus.py::test_opening_reads_manifests_alone_and_a_window_its_own_record"),
    ("`decodes_per_window` is 1", "training/corpus/test_lanes.py::test_each_window_is_decoded_once_whatever_the_number_of_processes"),
    ("Sets that were written without indexes", "training/corpus/test_corpus.py::test_sets_without_indexes_get_them_once"),
    ("| `--sampling-weights 3 1` |", "training/corpus/test_lanes.py::test_corpora_give_windows_by_their_weights"),
    ("Shard sets of several modalities", "training/test_pretrain.py::test_corpora_of_several_modalities_share_a_run_by_their_weights"),
    ("Windows of the same length and nearly", "training/corpus/test_buckets.py::test_a_padded_window_is_learnt_from_as_it_is_alone"),
    ("Where sets differ in modality", "training/test_pretrain.py::test_corpora_of_several_modalities_share_a_run_by_their_weights"),
    ("Missing channels are padded as absent", "training/corpus/test_buckets.py::test_a_padded_window_is_learnt_from_as_it_is_alone"),
    ("| `--data.min-quality 0.5` |", "training/corpus/test_lanes.py::test_quality_decides_by_the_index_alone"),
    ("| `--data.good-only` |", "training/corpus/test_lanes.py::test_good_windows_alone_are_chosen_by_the_index"),
    ("| `--data.loader-processes 4` |", "training/test_pretrain.py::test_how_windows_are_read_changes_no_step"),
    ("| `--data.resident device` |", "training/corpus/test_source.py::test_windows_in_memory_give_the_very_same_batches"),
    ("| `--data.lanes 8` |", "training/corpus/test_lanes.py::test_contradictions_are_refused"),
    ("Up to a million windows", "training/corpus/test_order.py::test_a_step_is_the_same_for_any_number_of_processes"),
    ("Larger corpora are never listed", "training/corpus/test_lanes.py::test_each_window_is_decoded_once_whatever_the_number_of_processes"),
    ("A lane shuffles the windows of four shards", "training/corpus/test_lanes.py::test_each_window_is_decoded_once_whatever_the_number_of_processes"),
    ("The position of a run is", "training/corpus/test_lanes.py::test_a_place_is_all_that_is_needed_to_go_on_with_other_processes"),
    ("Each epoch distributes the shuffled shards", "training/corpus/test_lanes.py::test_every_epoch_has_every_window_once"),
    ("From there it can continue", "training/corpus/test_lanes.py::test_a_place_is_all_that_is_needed_to_go_on_with_other_processes"),
    ("Crops, masks, references, gains", "training/corpus/test_source.py::test_what_is_drawn_depends_on_the_sample_number_alone"),
    ("Fillings other than the line", "training/objectives/test_gap_filling.py::test_window_filling_learns_from_the_window_what_channels_share"),
    ("One process, two processes, and two", "training/test_pretrain.py::test_two_processes_take_the_same_steps_as_one"),
    ("One process, two processes, and two", "training/test_pretrain.py::test_resumed_run_equals_the_whole_one_bit_for_bit"),
    ("`order_crc` in the metrics", "training/test_multinode.py::test_two_agents_take_the_steps_of_one_process"),
    ("A checkpoint contains the model", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("It is written to a temporary name, fsynced", "training/trainer/test_checkpoints.py::test_failed_write_leaves_nothing_but_what_was_there"),
    ("The newest `--track.keep` checkpoints and the best", "training/trainer/test_saving.py::test_the_best_stays_beside_the_newest"),
    ("`--track.save-in-background` copies", "training/trainer/test_saving.py::test_training_goes_on_while_a_checkpoint_is_written"),
    ("`--track.checkpoints gs://...`", "training/test_pretrain.py::test_checkpoints_may_lie_in_an_object_store"),
    # Precision
    ("`--optim.precision auto` means bf16", "training/test_claims.py::test_precision_of_a_gpu"),
    ("fp16 scales the loss", "training/trainer/test_train.py::test_fp16_scales_the_loss_and_leaves_out_steps_that_overflow"),
    ("`tf32`, and what bf16 and fp16 leave", "training/test_claims.py::test_precision_of_a_gpu"),
    ("`--optim.rate-batch 128` states", "training/recipes/test_sections.py::test_the_rate_grows_with_the_batch_by_the_rule_that_was_chosen"),
    ("2022), or with `--optim.rate-rule linear`", "training/recipes/test_sections.py::test_the_rate_grows_with_the_batch_by_the_rule_that_was_chosen"),
    ("If `--optim.batch` differs, the rate", "training/recipes/test_sections.py::test_the_rate_grows_with_the_batch_by_the_rule_that_was_chosen"),
    ("`--regularise.ema-decay 0.999` keeps", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("fits do the same", "training/test_claims.py::test_a_fit_keeps_the_averages_and_logs_as_pretraining_does"),
    ("`--optim.compile` lets torch", "training/trainer/test_train.py::test_a_compiled_module_takes_the_same_step"),
    # Monitoring
    ("`OUT/metrics.jsonl` has one line", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("`--track.to wandb mlflow`", "training/monitors/test_tracking.py::test_a_missing_package_is_reported_in_one_line"),
    ("W&B logs offline (", "training/monitors/test_tracking.py::test_wandb_writes_an_offline_run_that_a_resume_keeps"),
    ("MLflow logs to `OUT/mlflow.db`", "training/monitors/test_tracking.py::test_mlflow_keeps_the_numbers_in_a_local_file"),
    ("Pretraining and fits log alike", "training/test_claims.py::test_a_fit_keeps_the_averages_and_logs_as_pretraining_does"),
    ("| `loss`, `reconstruction`", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("| `valid_error`, `valid_error_<band>` |", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("| `knn_accuracy` |", "training/objectives/test_validation.py::test_neighbours_of_other_subjects_decide_the_probe"),
    ("| `recording_contrast`, `recording_chance`", "training/test_recording_pretraining.py::test_a_run_logs_the_contrast_beside_chance_and_looks_at_held_out_people"),
    ("| `latent_variance`, `valid_latent_error` |", "training/test_latent_pretraining.py::test_a_run_measures_what_it_can_and_watches_its_latents"),
    ("| `valid_loss`, `valid_balanced_accuracy` |", "training/test_ranks.py::test_a_fit_is_the_same_on_every_process"),
    ("| `grad_norm`, `learning_rate`, `loss_scale` |", "training/trainer/test_train.py::test_a_step_averages_over_windows_whatever_the_micro_batches"),
    ("| `eeg_hours_per_s` |", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("| `step_s` = `load_s`", "training/test_claims.py::test_what_a_run_saves_logs_and_keeps"),
    ("| `tflops`, `mfu` |", "training/monitors/test_throughput.py::test_a_monitor_adds_the_arithmetic_of_a_second"),
    ("| `cpu_cores`, `peak_rss_mb`", "training/monitors/test_throughput.py::test_cores_busy_since_the_last_reading"),
    # Drill, benches and what was not run
    ("`make drill` interrupts tiny runs", "training/test_page.py::test_the_drill_has_the_parts_that_the_page_lists"),
    ("It covers kill -9 at 20 moments", "training/test_page.py::test_the_drill_has_the_parts_that_the_page_lists"),
    ("`make bench-training` prints", "training/test_page.py::test_figures_that_the_page_names_are_printed"),
    ("`make bench-loader` measures", "training/test_page.py::test_figures_that_the_page_names_are_printed"),
    ("All figures:", "test_rules.py::test_what_a_page_names_exists"),
    ("`tests/golden/eeg_tiny_50.json` holds", "training/test_golden.py::test_loss_curve_is_the_golden_one"),
    ("GPUs (nccl, fp16", "training/test_page.py::test_figures_that_the_page_names_are_printed"),
    ("The GPU part of", "training/test_page.py::test_figures_that_the_page_names_are_printed"),
]  # fmt: skip
"""Words of a sentence, and a test that fails where it does not hold; a sentence may stand here more than once."""


def sentences() -> list[str]:
    """Return the sentences and rows of tables of the pages, in order.

    Commands, headings and the paragraph below a page's title, which names its content, are left out.
    """
    pages = "\n\n".join((ROOT / "docs" / name).read_text() for name in PAGES)
    text = re.sub(r"^```.*?^```$|^# .*?\n\n.*?\n\n", "", pages, flags=re.M | re.S)
    found: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if not lines or lines[0].startswith("#"):
            continue
        if lines[0].startswith("|"):
            found += lines[2:]
            continue
        flat = " ".join(re.sub(r"^\d\. ", "", line.strip()) for line in lines)
        found += re.split(r"(?<=[.?])\s+(?=[A-Z`0-9])", flat)
    return found


def test_every_sentence_has_a_test() -> None:
    page = sentences()
    assert len(page) > 80
    assert [sentence for sentence in page if not any(words in sentence for words, _ in HELD)] == []
    assert [words for words, _ in HELD if not any(words in sentence for sentence in page)] == []


@pytest.mark.parametrize("name", sorted({name for _, name in HELD}))
def test_the_tests_are_there(name: str) -> None:
    file, _, function = name.partition("::")
    assert re.search(rf"^def {function}\(", (TESTS / file).read_text(), flags=re.M)


def test_a_sentence_without_a_test_is_noticed() -> None:
    assert not any(words in "Training never fails." for words, _ in HELD)
    assert any("never listed" in sentence for sentence in sentences())


def test_figures_that_the_page_names_are_printed() -> None:
    benches = ROOT / "benchmarks" / "benches" / "models"
    programs = "".join((benches / f"{name}.py").read_text() for name in ("training", "loader"))
    page = " ".join(sentences())
    for figure in ("split_invariance", "decodes_per_window", "train_mfu", "gpu_idle_share", "compile_speedup"):
        assert f"`{figure}`" in page
        assert f'figure("{figure}"' in programs
    for form in ("tf.data", "LMDB", "HDF5", "memory map"):
        assert form in page
    assert "FORMS: dict" in programs


def test_the_drill_has_the_parts_that_the_page_lists() -> None:
    drill = (ROOT / "benchmarks" / "drills" / "drill.py").read_text()
    parts = re.findall(r'^    "([\w-]+)": \w+', drill, flags=re.M)
    assert parts == ["kill", "kill-2", "kill-4", "terminate", "finetune", "disk", "world", "elastic"]
    assert '"--times", type=int, default=20' in drill
