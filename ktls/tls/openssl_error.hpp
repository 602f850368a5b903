// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// OpenSSL's error queue as text.
#pragma once

#include <string>

namespace weft::ktls {

/// The oldest error in this thread's queue, and the queue is empty afterwards. "" when there was none.
std::string take_openssl_error();

} // namespace weft::ktls
