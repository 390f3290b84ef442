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

    def test_a_run_with_other_parameters_is_refused(self):
        with self.assertRaises(SystemExit):
            Journal(self.path, {"windows": 3})


if __name__ == "__main__":
    unittest.main()
