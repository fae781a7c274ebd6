// SPDX-License-Identifier: Apache-2.0
// Whether the test runs instrumented (address sanitizer, coverage), which makes it several times slower: what
// goes through thousands of cases takes fewer of them then, others each time, and says which.
#ifndef DBK_TESTS_SLOW_BUILD_H
#define DBK_TESTS_SLOW_BUILD_H

#if defined(__SANITIZE_ADDRESS__) || defined(DBK_COVERAGE)
#define IS_SLOW_BUILD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SLOW_BUILD 1
#endif
#endif
#ifndef IS_SLOW_BUILD
#define IS_SLOW_BUILD 0
#endif

#endif
