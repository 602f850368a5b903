// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificates that somebody else writes into files, in cert-manager's layout: tls.crt, tls.key and ca.crt in a folder,
// or in each subfolder of it. Reloaded when they change, also by the symbolic link that Kubernetes swaps. Files that do
// not fit together, as half of a pair does not, keep the last good ones.
#pragma once

#include <memory>
#include <string>

#include "agent/identity/source.hpp"

namespace weft::identity {

/// Reads once before it returns; a file that is bad then shows as an error of its identity, not here. Errors: errno of
/// watching the folder.
Result<std::unique_ptr<Source>> open_files_source(const std::string& folder);

} // namespace weft::identity
