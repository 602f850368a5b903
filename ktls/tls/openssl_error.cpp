// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reads and clears the queue.
#include "ktls/tls/openssl_error.hpp"

#include <array>

#include <openssl/err.h>

namespace weft::ktls {

std::string take_openssl_error() {
    const auto code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) {
        return {};
    }
    if (const char* reason = ERR_reason_error_string(code); reason != nullptr) {
        return reason;
    }
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    return text.data();
}

} // namespace weft::ktls
