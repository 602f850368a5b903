// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Files of others, read whole and with a bound: certificates and trust bundles. Owner and mode are theirs to choose, as
// Kubernetes mounts secrets readable for all.
#pragma once

#include <string>

#include "weft/base/result.hpp"

namespace weft::identity {

/// The most bytes that a certificate file, a key or a bundle may have.
inline constexpr std::size_t kMostFileBytes = std::size_t{1} << 20;

/// Errors: errno of the call, EFBIG beyond kMostFileBytes, EINVAL when it is no regular file.
Result<std::string> read_small_file(const std::string& path);

} // namespace weft::identity
