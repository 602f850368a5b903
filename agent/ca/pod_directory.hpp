// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which identities may a node have? Those of the pods that are scheduled on it. Who knows that is behind an interface:
// a folder of manifests, or later the API server.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft::ca {

class PodDirectory {
public:
    virtual ~PodDirectory() = default;
    /// Whether a pod with that service account is scheduled on that node and has not finished. Errors: EACCES with the
    /// reason when not, EAGAIN when that cannot be known now. Thread: any.
    virtual Result<> check(std::string_view node, std::string_view namespace_name,
                           std::string_view service_account) = 0;
};

/// Pods of a folder of Kubernetes manifests, as they are at the moment of the question. Errors: as
/// source::ManifestFolder::open().
Result<std::unique_ptr<PodDirectory>> open_manifest_pods(const std::string& folder);

} // namespace weft::ca
