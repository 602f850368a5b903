// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Ids that follow from content alone: the same workload, label set or backend set has the same id after a restart
// and on every run, so nothing has to remember numbers. 64 bits of SHA-256: tenants choose labels, and must not be
// able to choose a label set that collides with another one's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

/// Collects fields of one object; field boundaries count, so ("ab","c") and ("a","bc") differ.
class ContentHash {
public:
    /// `kind` keeps ids of different kinds of object apart ("identity", "set", ...).
    explicit ContentHash(std::string_view kind) { add(kind); }
    ContentHash& add(std::string_view field);
    ContentHash& add(std::uint64_t field);
    /// Never below 256: small numbers are reserved.
    [[nodiscard]] std::uint64_t id() const;

private:
    std::string bytes_;
};

/// How ids are shown: 16 hex digits.
std::string id_text(std::uint64_t id);

/// Id of a workload (weft_endpoint.workload).
std::uint64_t workload_id(std::string_view namespace_name, std::string_view pod_name);

} // namespace weft
