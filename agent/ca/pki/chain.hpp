// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does a chain of certificates lead from a leaf to a root that is trusted, at a given moment?
#pragma once

#include <optional>
#include <span>

#include "agent/ca/pki/certificate.hpp"

namespace weft::pki {

enum class Purpose { kClient, kServer, kAny };

using Certificates = std::span<const OsslPtr<X509>>;

/// `chain`: leaf, then what it sent along. `extra`: further intermediates that may be used. `at`: the moment that
/// counts; without one, dates are not looked at. Errors: EKEYEXPIRED expired or not valid yet, EKEYREJECTED anything
/// else, with the depth and the reason.
Result<> verify_chain(Certificates chain, Certificates roots, Purpose purpose, std::optional<Time> at,
                      Certificates extra = {});

} // namespace weft::pki
