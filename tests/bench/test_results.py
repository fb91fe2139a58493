#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is made of measurements: figures, verdicts, the table, the pictures. Measures nothing."""

import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "peers")]

import harness  # noqa: E402
import memory  # noqa: E402
import pictures  # noqa: E402
import report  # noqa: E402
import table  # noqa: E402
import testfiles  # noqa: E402
from record import Record, figure, judge, spread  # noqa: E402

RATE = table.Row("a", "shards", "a", "GB/s", "us", ("them", "others"), (">=", 0.95))
TIME = table.Row("b", "scale", "b", "s", "us", (), ("<=", 0.2))
REMOVE = table.Row("c", "remove", "c", "s", "us", ("them",), ("<=", 1.5))


class Figures(unittest.TestCase):
    def test_spread_tells_median_and_ends(self):
        self.assertEqual(spread([3, 1, 2]), {"median": 2, "least": 1, "most": 3, "count": 3})
        self.assertIsNone(spread([]))

    def test_the_best_rate_is_the_highest_and_the_best_time_the_lowest(self):
        self.assertEqual(figure([1, 3, 2], "GB/s", "best"), 3)
        self.assertEqual(figure([1, 3, 2], "s", "best"), 1)
        self.assertEqual(figure([1, 3, 2], "MiB", "most"), 3)
        self.assertEqual(figure([1, 3, 2], "s", "median"), 2)


class Verdicts(unittest.TestCase):
    def test_a_ratio_is_of_the_best_of_the_others(self):
        verdict = judge(RATE, {"us": [10], "them": [8], "others": [20]}, {})
        self.assertEqual((verdict.theirs, verdict.ratio, verdict.reached), (20, 0.5, False))

    def test_one_of_the_others_may_be_missing(self):
        verdict = judge(RATE, {"us": [10], "them": [8]}, {"others": "not installed"})
        self.assertEqual((verdict.ratio, verdict.reached), (1.25, True))
        self.assertEqual(verdict.why, "not installed")

    def test_a_side_that_failed_in_some_rounds_counts_and_says_so(self):
        verdict = judge(RATE, {"us": [10], "them": [8]}, {"them": "failed"})
        self.assertEqual((verdict.ratio, verdict.why), (1.25, "not in every round: failed"))

    def test_without_either_side_nothing_is_reached_and_the_reason_is_kept(self):
        for values in ({"us": [10]}, {"them": [10]}, {}):
            reasons = {key: "no GPU here" for key in ("us", "them") if key not in values}
            verdict = judge(RATE, values, reasons)
            self.assertIsNone(verdict.reached)
            self.assertEqual(verdict.why, "no GPU here")

    def test_a_time_must_stay_below(self):
        self.assertTrue(judge(TIME, {"us": [0.2]}, {}).reached)
        self.assertFalse(judge(TIME, {"us": [0.21]}, {}).reached)
        self.assertFalse(judge(REMOVE, {"us": [1.6], "them": [1]}, {}).reached)
        self.assertTrue(judge(REMOVE, {"us": [1.4], "them": [1]}, {}).reached)

    def test_no_bound_is_neither_reached_nor_missed(self):
        row = RATE._replace(bound=None)
        self.assertIsNone(judge(row, {"us": [1], "them": [1]}, {}).reached)


class Table(unittest.TestCase):
    def test_rows_have_names_of_their_own_and_known_sections(self):
        ids = [row.id for row in table.ROWS]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual({row.section for row in table.ROWS}, set(table.SECTIONS))

    def test_sections_are_chosen_by_name_or_beginning_in_their_order(self):
        self.assertEqual(table.choose_sections("shards"), ["shards"])
        self.assertEqual(table.choose_sections("scale,host"), ["host-warm", "host-cold", "scale"])
        with self.assertRaises(KeyError):
            table.choose_sections("shards,nothing")


class Whole(unittest.TestCase):
    """Everything that is written, from nothing measured, and from something."""

    def results(self, measured):
        record = Record(".", {"cpu": "2 x <CPU> & more", "date": "2000-01-01"},
                        {"repeat": 3, "bytes": {"host-warm": 1 << 30}})
        for row in table.ROWS:
            for key in (row.ours, *row.theirs):
                if measured:
                    record.values[key] = [1.0, 2.0, 3.0]
                else:
                    record.lack(key, "a | reason\nof two lines")
        if measured:
            record.remember_memory("host-warm", "wload", [(0, 0), (0.5, 1 << 20), (1, 0)],
                                   [[0, 0], [1, 1 << 30]])
            record.remember_memory("host-warm", "wload", [(0, 0), (1, 1 << 10)], [[0, 0], [1, 7]])
            record.remember_memory("host-warm", "safetensors", [(0, 0), (1, 1 << 10)])
        return record.as_json(table.ROWS)

    def test_every_row_is_in_the_table_and_no_cell_is_broken(self):
        for measured in (False, True):
            text = report.markdown(self.results(measured), table.SECTIONS)
            lines = [line for line in text.split("\n") if line.startswith("| ")]
            self.assertEqual(len(lines), len(table.ROWS) + 2 * len(table.SECTIONS))
            for line in lines:
                self.assertEqual(line.replace("\\|", "").count("|"), 10, line)

    def test_only_the_chosen_sections_are_in_the_table(self):
        text = report.markdown(self.results(True), ["scale"])
        self.assertEqual(text.count("\n## "), 1)

    def test_pictures_are_xml_with_what_was_measured(self):
        for measured in (False, True):
            for draw in (pictures.throughput, pictures.memory):
                root = xml.fromstring(draw(self.results(measured)))
                words = " ".join("".join(e.itertext()) for e in root.iter())
                self.assertEqual("Page-cached file to host memory" in words, measured)

    def test_pictures_have_the_tables_figures_and_tell_what_run_it_was(self):
        results = self.results(True)
        results["environment"].update(run="quick", gpu="none (pretended)")
        results["values"]["shards/read-1/mount"] = [1.0, 2.0]
        words = pictures.throughput(results)
        self.assertIn("1.5 GB/s", words)
        self.assertIn("<title>Throughput (quick)</title>", words)
        self.assertIn("pretended", words)

    def test_no_curve_runs_over_the_checkpoints_name(self):
        drawn = pictures.memory(self.results(True))
        self.assertGreater(drawn.index("the checkpoint, 1 GiB"), drawn.rindex("<polyline"))

    def test_the_run_of_most_memory_is_kept(self):
        results = self.results(True)
        self.assertEqual(max(b for _, b in results["memory"]["host-warm"]["wload"]), 1 << 20)
        self.assertEqual(results["arrived"]["host-warm"], {"wload": [[0, 0], [1, 1 << 30]]})

    def test_what_reached_the_device_ends_at_the_checkpoints_size(self):
        drawn = xml.fromstring(pictures.memory(self.results(True)))
        lines = [e for e in drawn.iter() if e.get("class") == "line there" and e.get("points")]
        size = next(e for e in drawn.iter() if e.get("class") == "size")
        self.assertEqual(len(lines), 1)
        self.assertEqual(lines[0].get("points").split()[-1].split(",")[1],
                         size.get("d").split()[1].split("H")[0])

    def test_results_of_before_that_was_known_are_drawn_too(self):
        results = self.results(True)
        del results["arrived"]
        self.assertNotIn("bytes on the device", pictures.memory(results))

    def test_reasons_name_files_but_no_folders(self):
        record = Record(".", {}, {})
        record.lack("a", "'/some/where/x.json':\n no such file, 1/2 of them")
        self.assertEqual(record.reasons["a"], "'x.json': no such file, 1/2 of them")

    def test_details_name_no_folders_either(self):
        record = Record(".", {}, {})
        record.detail("a", {"failed": "fio: cannot open /some/user@1.service/x y",
                            "why": ["[Errno 30] Read-only: '/sys/fs/a folder/of-1/name'", 1.5]})
        self.assertEqual(record.details["a"], [{
            "failed": "fio: cannot open x y", "why": ["[Errno 30] Read-only: 'name'", 1.5]}])

    def test_results_are_written_whole(self):
        with tempfile.TemporaryDirectory() as out:
            Record(out, {}, {}).write(table.ROWS)
            self.assertEqual(os.listdir(out), ["results.json"])


class Series(unittest.TestCase):
    def test_thinning_keeps_the_ends_and_the_peak(self):
        series = [(i, 7 if i == 1234 else 1) for i in range(5000)]
        short = memory.thinned(series, 100)
        self.assertLessEqual(len(short), 100)
        self.assertEqual((short[0], short[-1]), ([0, 1], [4999, 1]))
        self.assertEqual(max(b for _, b in short), 7)

    def test_axes_begin_at_nothing_and_reach_the_most(self):
        for most in (0.003, 0.9, 1, 42, 12345):
            marks = pictures.steps(most)
            self.assertEqual(marks[0], 0)
            self.assertGreaterEqual(marks[-1], most)
            self.assertLess(len(marks), 9)


class Memory(unittest.TestCase):
    def test_pages_of_a_pool_count_beside_a_process_own(self):
        real, memory.read_fields = memory.read_fields, lambda path, names: {
            name: {"RssAnon": 1, "RssShmem": 10, "HugetlbPages": 100}[name] for name in names}
        try:
            self.assertEqual(memory.private_and_shared([1, 2]), (202, 20))
        finally:
            memory.read_fields = real


class Checks(unittest.TestCase):
    """A loader's result is compared with sums that nobody had to read for."""

    def test_sums_are_the_patterns(self):
        for sparse in (False, True):
            for size in (0, 4, 8, 100, 4096, 4100, 9001, 1 << 20):
                block = bytearray(size)
                ranges = testfiles.wload_pattern.stamps(size) if sparse else [(0, size)]
                for begin, end in ranges:
                    block[begin:end] = testfiles.wload_pattern.words(
                        testfiles.wload_pattern.fnv1a32("a"), begin, end)
                total = sum(int.from_bytes(block[i:i + 8], "little")
                            for i in range(0, size // 8 * 8, 8)) & harness.MASK
                self.assertEqual(testfiles.word_sum("a", size, sparse), total, (size, sparse))

    def test_fused_tensors_are_checked_together(self):
        sums = {"q": (8, 1), "k": (8, 2), "qk": (16, 3), "o": (8, 5)}
        expected = {"q": [8, 1], "k": [8, 2], "o": [8, 5]}
        real, harness.word_sum = harness.word_sum, sums.get
        try:
            self.assertEqual(harness.check({"qk": "qk", "o": "o"}, dict(expected)), [])
            self.assertEqual(harness.check({"qk": "qk", "o": "q"}, dict(expected)), ["o"])
            self.assertEqual(len(harness.check({"o": "o"}, dict(expected))), 1)
        finally:
            harness.word_sum = real

    def test_shapes_have_about_the_size(self):
        for size in (32_000_000, 2 * 10**9, 12_500_000_000):
            family, scale, layers = testfiles.shape_of(size)
            made = sum(t.bytes for t in testfiles.wload_writer.sized(
                testfiles.wload_families.build(family, layers, scale)[1]))
            self.assertLess(abs(made - size), size * 0.2)


if __name__ == "__main__":
    unittest.main()
