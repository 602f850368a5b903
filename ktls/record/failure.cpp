// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Words for failures.
#include "weft/ktls/failure.hpp"

#include <array>

namespace weft::ktls {
namespace {

struct Words {
    std::string_view name;
    std::string_view meaning;
};

constexpr std::array<Words, kFailureCount> kWords = {{
#define WEFT_KTLS_FAILURE_WORDS(enumerator, word, meaning) {word, meaning},
    WEFT_KTLS_FAILURES(WEFT_KTLS_FAILURE_WORDS)
#undef WEFT_KTLS_FAILURE_WORDS
}};

} // namespace

std::string_view failure_name(Failure failure) {
    return kWords[static_cast<std::size_t>(failure)].name;
}

std::string_view failure_meaning(Failure failure) {
    return kWords[static_cast<std::size_t>(failure)].meaning;
}

} // namespace weft::ktls
