"""Tests of the house rules: a clean tree has no finding, and each rule finds its canary."""

import pathlib
import shutil
import tempfile
import unittest

import cpp_scan
import tidy

CLEAN = {
    "src/base/errc.h": "#pragma once\n\nenum class Errc {\n  ok = 0,\n  odd = 1,\n};\n",
    "src/base/low.cc": '#include "src/base/errc.h"\n',
    "src/model/mid.cc": '#include "src/base/errc.h"\n',
    "transport/driver.cc": "#include <boost/asio/post.hpp>\n",
    "tests/base/low_test.cc": "auto a = Errc::ok, b = Errc::odd;\n",
    "CMakeLists.txt": "low.cc mid.cc driver.cc low_test.cc\n",
    "README.md": "# Clean\n",
}


class Tree(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def add(self, path, text):
        """Writes a file that CMake names."""
        self.write(path, text)
        lists = self.root / "CMakeLists.txt"
        lists.write_text(lists.read_text() + pathlib.PurePath(path).name + "\n")

    def found(self):
        return [str(finding) for finding in tidy.check_tree(self.root)]

    def assert_one(self, start, *parts):
        found = self.found()
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(start), found[0])
        for part in parts:
            self.assertIn(part, found[0])


class Rules(Tree):
    def test_clean_tree_has_no_finding(self):
        self.assertEqual(self.found(), [])

    def test_upward_include(self):
        self.add("src/base/up.cc", '\n#include "src/model/mid.h"\n')
        self.write("src/model/mid.h", "#pragma once\n")
        self.assert_one("src/base/up.cc:2:", "src/base -> src/model/mid.h")

    def test_folders_of_one_rank(self):
        self.add("codec/side.cc", '#include "store/arena.h"\n')
        self.write("store/arena.h", "#pragma once\n")
        self.assert_one("codec/side.cc:1:", "codec -> store/arena.h", "pass it in")

    def test_one_header_of_a_folder(self):
        self.write("codec/page.h", "#pragma once\n")
        self.write("codec/codec.h", "#pragma once\n")
        self.add("src/cache/good.cc", '#include "codec/page.h"\n')
        self.assertEqual(self.found(), [])
        self.add("src/cache/bad.cc", '#include "codec/codec.h"\n')
        self.assert_one("src/cache/bad.cc:1:", "src/cache -> codec/codec.h")

    def test_tests_may_include_everything(self):
        self.write("store/arena.h", "#pragma once\n")
        self.add("tests/codec/both_test.cc", '#include "store/arena.h"\n')
        self.assertEqual(self.found(), [])

    def test_relative_include(self):
        self.add("src/base/near.cc", '#include "errc.h"\n')
        self.assert_one("src/base/near.cc:1:", "no path from the root")

    def test_library_in_a_header(self):
        self.write("transport/io.h", "#pragma once\n#include <boost/asio.hpp>\n")
        self.assert_one("transport/io.h:2:", "Asio in a header")

    def test_library_of_another_folder(self):
        for name in ("liburing.h", "hiredis/read.h", "cuda_runtime.h", "prometheus/counter.h"):
            with self.subTest(name):
                self.add("src/model/foreign.cc", f"#include <{name}>\n")
                self.assert_one("src/model/foreign.cc:1:", "belongs to")

    def test_long_file(self):
        self.add("src/base/long.cc", "int x;\n" * 601)
        self.assert_one("src/base/long.cc:601:", "601 lines, at most 600")

    def test_long_test_file(self):
        self.add("tests/base/long_test.cc", "int x;\n" * 1000)
        self.assertEqual(self.found(), [])
        self.add("tests/base/long_test.cc", "int x;\n" * 1001)
        self.assert_one("tests/base/long_test.cc:1001:", "at most 1000")

    def test_long_function(self):
        body = "  x();\n" * 68
        self.add("src/base/fits.cc", f"void fits() {{\n{body}}}\n")
        self.assertEqual(self.found(), [])
        self.add("src/base/much.cc", f"\nvoid much() {{\n{body}  x();\n}}\n")
        self.assert_one("src/base/much.cc:2:", "function of 71 lines", "void much()")

    def test_long_python_function(self):
        self.write("python/much.py", "\ndef much():\n" + "    x()\n" * 70)
        self.assert_one("python/much.py:2:", "function of 71 lines", "much")

    def test_name_that_is_taken(self):
        self.add("codec/low.cc", "int x;\n")
        self.assert_one("src/base/low.cc:1:", "taken by codec/low.cc")

    def test_error_without_a_test(self):
        self.add("tests/base/low_test.cc", "auto a = Errc::ok;\n")
        self.assert_one("src/base/errc.h:5:", "Errc::odd")

    def test_marks(self):
        for mark in ("// TO" + "DO: later", "// FIX" + "ME", "#if " + "0"):
            with self.subTest(mark):
                self.add("src/base/mark.cc", f"\n\n{mark}\n")
                self.assert_one("src/base/mark.cc:3:", "is banned")

    def test_tab(self):
        self.write("deploy/run.sh", "a\n\tb\n")
        self.assert_one("deploy/run.sh:2:", "tab")

    def test_header_without_a_guard(self):
        self.write("src/base/open.h", "int x;\n")
        self.assert_one("src/base/open.h:1:", "#pragma once")

    def test_statement_without_braces(self):
        self.add("src/base/bare.cc", "void f() {\n  if (a)\n    b();\n}\n")
        self.assert_one("src/base/bare.cc:2:", "braces")

    def test_lambda_in_an_await(self):
        self.add("src/base/await.cc", "void f() {\n  co_await run([t] { g(); });\n}\n")
        self.assert_one("src/base/await.cc:2:", "co_await")

    def test_value_of_a_result(self):
        self.add("src/base/throws.cc", "int x = f().value();\n")
        self.assert_one("src/base/throws.cc:1:", ".value() throws")

    def test_source_that_is_not_built(self):
        self.write("src/base/dead.cc", "int x;\n")
        self.assert_one("src/base/dead.cc:1:", "no CMake file")

    def test_heading_that_is_not_there(self):
        self.write("codec/FORMAT.md", "# Format\n\n## Page header\n\n## Sections\n")
        spec = "FORMAT" + ".md"  # put together, so that this file cites nothing
        self.add("codec/good.h", f'#pragma once\n// ({spec}, "Sections" and "Page\n// header").\n')
        self.assertEqual(self.found(), [])
        self.add("codec/bad.h", f'#pragma once\n// ({spec}, "Sections" and "Rows").\n')
        self.assert_one("codec/bad.h:2:", '"Rows"')

    @unittest.skipIf(shutil.which("clang-format-14") is None, "no clang-format-14")
    def test_layout(self):
        self.write(".clang-format", "BasedOnStyle: Google\n")
        self.add("src/base/wide.cc", "int  x;\n")
        self.assert_one("src/base/wide.cc:1:", "clang-format-14 -i src/base/wide.cc")


class Scanner(unittest.TestCase):
    def lengths(self, text):
        return [f.lines for f in cpp_scan.functions(cpp_scan.code_only(text))]

    def test_functions_of_namespaces_and_classes(self):
        text = """
namespace a {
class B {
 public:
  int one() {
    return 1;
  }
  int two() const;
};
template <class T>
void three() {
  auto f = [] {
    return '{';
  };
}
}  // namespace a
"""
        self.assertEqual(self.lengths(text), [3, 6])

    def test_tables_are_no_functions(self):
        table = "const int k[] = {\n" + "  1,\n" * 100 + "};\n"
        calls = "constexpr auto k = to_array<int>({\n" + "  1,\n" * 100 + "});\n"
        self.assertEqual(self.lengths(table) + self.lengths(calls), [])

    def test_literals_and_comments_hide_braces(self):
        text = 'void f() {\n  s = "}{";\n  r = R"(})";  // }\n  /* } */\n  c = \'}\';\n}\n'
        self.assertEqual(self.lengths(text), [6])

    def test_digit_separators_are_no_characters(self):
        text = "void f() {\n  x = 1'000'000;\n}\nint g() { return 2'0; }\n"
        self.assertEqual(self.lengths(text), [3, 1])

    def test_braces_that_are_there(self):
        text = """
void f() {
  if (a(b)) { c(); } else if (d) { e(); } else { g(); }
  for (;;) { h(); }
  do { i(); } while (j);
  while (k) { l(); }
  if constexpr (m) { n(); }
}
"""
        self.assertEqual(cpp_scan.unbraced(text), [])

    def test_awaits_that_are_safe(self):
        text = """
  auto f = [t] { g(); };
  co_await run(std::move(f));
  if (auto x = co_await read(); x) { y(); }
  co_await v[0](z);
"""
        self.assertEqual(cpp_scan.risky_awaits(text), [])

    def test_awaits_of_braced_values(self):
        self.assertEqual(cpp_scan.risky_awaits("co_await f({a, b});"), [1])
        self.assertEqual(cpp_scan.risky_awaits("\nco_await g(A{.x = s});"), [2])


if __name__ == "__main__":
    unittest.main()
