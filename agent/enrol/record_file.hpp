// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How is one endpoint record kept in a file? As JSON that carries a format version; written so that a reader sees the
// old record or the new one, never half of one; read with every field checked.
#pragma once

#include <string>
#include <string_view>

#include "agent/enrol/registry.hpp"

namespace weft::enrol {

/// The record as text.
std::string format_record(const EndpointRecord& record);
/// From text. Error: EINVAL naming the field.
Result<EndpointRecord> parse_record(std::string_view text);

/// Replaces the file, mode 0600. Error: errno of the failed call; the old file is then untouched.
Result<> write_record(const std::string& path, const EndpointRecord& record);
/// Errors: errno of the failed call, EFBIG beyond 64 KiB, EINVAL for bad content, each naming the file.
Result<EndpointRecord> read_record(const std::string& path);

} // namespace weft::enrol
