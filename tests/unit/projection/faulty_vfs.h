// SPDX-License-Identifier: Apache-2.0
// SQLite's files, failing when told: a VFS of SQLite that passes everything on to the system's and counts
// what changes a file. Registered as the default, so that code under test gets it without knowing.
#ifndef DBK_TESTS_FAULTY_VFS_H
#define DBK_TESTS_FAULTY_VFS_H

/// Put it before the system's. Once per process.
void faulty_vfs_register(void);
/// From the `nth` write or sync from now on (1: the next; 0: none) `count` of them fail with `code`,
/// SQLITE_FULL for one.
void faulty_vfs_fail(int nth, int count, int code);
/// Did one fail since?
int faulty_vfs_has_failed(void);
/// Writes and syncs since the beginning.
int faulty_vfs_write_count(void);

#endif
