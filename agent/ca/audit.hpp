// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The audit log: one JSON line for every certificate that was issued or refused, and for what administrators did.
#pragma once

#include <string>

#include "agent/ca/authority.hpp"

namespace weft::ca {

struct AuditLine {
    Time time{};
    std::string event{}; ///< "issued", "refused", "revoked", "allowed", "token", "rotated"
    std::string kind{};  ///< "node", "workload", "operator", "root", ...
    std::string node{};  ///< who asked, as far as proven
    std::string id{};    ///< for whom
    std::string serial{};
    std::string peer{};   ///< address of who asked
    std::string reason{}; ///< why it was refused
};

/// One line, without its end.
std::string audit_text(const AuditLine& line);

/// Appends it to audit.jsonl in the folder. The file is opened for each line, so it can be rotated by renaming.
Result<> write_audit(const StateFolder& folder, const AuditLine& line);

} // namespace weft::ca
