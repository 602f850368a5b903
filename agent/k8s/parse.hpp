// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// From text to checked Kubernetes objects: YAML (several documents) or JSON, validated as the API server validates the
// fields that Weft reads. A fault refuses its object with file, line, field and remedy; all other objects go on.
// Never throws, never hangs: size, depth and alias expansion are bounded.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/k8s/document.hpp"
#include "agent/k8s/objects.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::k8s {

/// A file beyond this is refused whole.
inline constexpr std::size_t kMaxTextBytes = 16U << 20;
/// Faults listed for one file; further ones are only counted.
inline constexpr std::size_t kMaxRefusals = 1000;

/// What one file (or one API object) turned out to hold.
struct ParseOutcome {
    std::vector<Object> objects;                ///< in the order written; an object written twice appears once
    std::vector<store::Refusal> refusals;       ///< one for each fault; an object with a fault is not in `objects`
    std::map<std::string, std::size_t> ignored; ///< kinds that Weft does not read, and how many of each
    /// Some document could not be attributed to an object (syntax error): what this file defined before may still be
    /// meant, so its absence from `objects` is no deletion.
    bool incomplete = false;
};

/// Reads every document of `text`; `file` is only named in origins and refusals. Items of `kind: List` (or
/// `ServiceList` ...) count as documents. Text that begins with '{' is read as JSON first.
ParseOutcome parse_documents(std::string_view text, const std::string& file);

/// The same for one object that is already a tree; appends to `outcome`.
void parse_object(const Value& document, const std::string& file, ParseOutcome& outcome);

} // namespace weft::k8s
