"""A journal keeps what was measured over a cut, and only for the same run."""

import os
import tempfile
import unittest

from journal import Journal


class Kept(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "journal")
        journal = Journal(self.path, {"windows": 2})
        journal.add({"bits": 5.0}, "text", "window 0", "kivi 2")
        journal.add({"bits": 6.0}, "text", "window 1", "kivi 2")

    def test_a_second_run_has_what_the_first_measured(self):
        journal = Journal(self.path, {"windows": 2})
        self.assertEqual(journal.get("text", "window 0", "kivi 2"), {"bits": 5.0})
        self.assertEqual(journal.get("text", "window 1", "kivi 2"), {"bits": 6.0})
        self.assertIsNone(journal.get("text", "window 2", "kivi 2"))

    def test_a_line_that_was_cut_is_dropped_and_the_rest_goes_on(self):
        with open(self.path) as file:
            whole = file.read()
        with open(self.path, "w") as file:
            file.write(whole[:-5])
        journal = Journal(self.path, {"windows": 2})
        self.assertIsNone(journal.get("text", "window 1", "kivi 2"))
        journal.add({"bits": 7.0}, "text", "window 1", "kivi 2")
        again = Journal(self.path, {"windows": 2})
        self.assertEqual(again.get("text", "window 1", "kivi 2"), {"bits": 7.0})
        self.assertEqual(again.get("text", "window 0", "kivi 2"), {"bits": 5.0})

    def test_a_run_with_other_parameters_is_refused_by_their_names(self):
        with self.assertRaisesRegex(SystemExit, "another windows"):
            Journal(self.path, {"windows": 3})

    def test_it_says_whether_it_goes_on(self):
        self.assertTrue(Journal(self.path, {"windows": 2}).goes_on)
        self.assertFalse(Journal(self.path + "2", {"windows": 2}).goes_on)

    def test_what_is_no_journal_is_refused(self):
        with open(self.path) as file:
            first, *_ = file.readlines()
        for line in ("no JSON\n", "[1, 2, 3]\n", '[["text"], 5]\n', "7\n"):
            with self.subTest(line):
                with open(self.path, "w") as file:
                    file.write(first + line)
                with self.assertRaisesRegex(SystemExit, "no journal"):
                    Journal(self.path, {"windows": 2})


if __name__ == "__main__":
    unittest.main()
