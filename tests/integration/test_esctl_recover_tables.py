"""recover where RocksDB's tables are deleted, cut or flipped, one after the other."""

import json
import os
import unittest

from lib_esctl import run
from lib_recover import RecoverCase, flip, tables


class Tables(RecoverCase):
    def test_each_table_deleted_cut_or_flipped(self):
        count = len(tables(self.store.pristine))
        self.assertGreater(count, 3)
        for index in range(0, count, 2):
            for damage in ("deleted", "cut", "flipped", "footer")[:4 if index % 4 == 0 else 1]:
                with self.subTest(table=index, damage=damage):
                    data = self.copy()
                    path = tables(data)[index]
                    if damage == "deleted":
                        os.unlink(path)
                    elif damage == "cut":
                        os.truncate(path, os.path.getsize(path) // 2)
                    elif damage == "footer":
                        flip(path, os.path.getsize(path) - 12, 1 << 2)  # format 1 for 5
                    else:
                        flip(path, os.path.getsize(path) // 3)
                    if damage == "flipped" and self.start(data)[0] == 0:
                        continue  # what is damaged is told when it is read
                    result = run("--json", "recover", "--data", data)
                    if result.returncode == 0:  # a file that RocksDB had done with
                        self.assertEqual(self.start(data)[0], 0)
                        continue
                    self.assertEqual(result.returncode, 65, result)
                    if not result.stdout:
                        self.assertIn(b"backup", result.stderr)
                        continue
                    report = self.recover(data, "--accept-loss")
                    self.check_recovered(data, report)


if __name__ == "__main__":
    unittest.main()
