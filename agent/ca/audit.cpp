// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/ca/audit.hpp"

#include "agent/ca/pki/durable_file.hpp"

namespace weft::ca {

std::string audit_text(const AuditLine& line) {
    nlohmann::ordered_json object{{"time", pki::time_text(line.time)}, {"event", line.event}, {"kind", line.kind}};
    const auto add = [&](const char* name, const std::string& value) {
        if (!value.empty()) {
            object[name] = value;
        }
    };
    add("node", line.node);
    add("id", line.id);
    add("serial", line.serial);
    add("peer", line.peer);
    add("reason", line.reason);
    return object.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

Result<> write_audit(const StateFolder& folder, const AuditLine& line) {
    // Not synced: the ledger is what counts, and a refusal must not cost a disk write each.
    return pki::append_line(folder.file("audit.jsonl"), audit_text(line), false);
}

} // namespace weft::ca
