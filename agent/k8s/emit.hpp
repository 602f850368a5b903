// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Objects back to YAML, so that the lab can write what its control plane derived into a manifests folder.
#pragma once

#include <string>

#include "agent/k8s/objects.hpp"

namespace weft::k8s {

/// One YAML document, beginning with "---". Parsing it gives an equal object (origin aside). A boolean
/// `meta.deleting` becomes a fixed deletionTimestamp, as the time itself is not kept.
std::string to_yaml(const Object& object);

} // namespace weft::k8s
