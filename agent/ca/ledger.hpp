// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What was issued and still counts, and what was revoked: issued.jsonl (a line each) and revoked.json. A certificate is
// in the ledger before anybody gets it, so every living one can be revoked. Thread: one at a time.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ca/authority.hpp"

namespace weft::ca {

struct Issued {
    std::string id; ///< SPIFFE ID
    std::string node; ///< who asked; empty: an administrator
    unsigned root = 0; ///< number of the root above it
    Time at;
    Time not_after;
};

struct Revoked {
    std::string serial; ///< one of both is set
    std::string id;
    Time at;
    Time expires{}; ///< the epoch: never
};

class Ledger {
public:
    static Result<Ledger> open(const StateFolder& folder, Time now);

    /// Error: errno; then the certificate must not be handed out.
    Result<> record(const StateFolder& folder, const std::string& serial, Issued entry);
    /// By serial number.
    [[nodiscard]] const std::map<std::string, Issued>& issued() const { return issued_; }
    [[nodiscard]] const std::vector<Revoked>& revoked() const { return revoked_; }

    /// A serial number: that certificate. An identity: itself, and every living certificate that says it; for a node
    /// also every one that it asked for. Returns what is new. Error: ENOENT for a serial number that is unknown.
    Result<std::vector<Revoked>> revoke(const StateFolder& folder, const std::string& what, Time now);
    /// Lets an identity have certificates again. Error: ENOENT when it is not revoked.
    Result<std::vector<Revoked>> allow(const StateFolder& folder, const std::string& id);
    [[nodiscard]] bool is_revoked(std::string_view serial, std::string_view id) const;

    /// Certificates below `root` that somebody may still use: not expired, not revoked, and their holder has no newer
    /// one from another root.
    [[nodiscard]] std::vector<std::string> in_use_below(unsigned root, Time now) const;
    /// Forgets what has expired. True when the revocation list became shorter.
    Result<bool> prune(const StateFolder& folder, Time now);

private:
    [[nodiscard]] Result<> save_revoked(const StateFolder& folder) const;
    [[nodiscard]] Result<> rewrite_issued(const StateFolder& folder) const;

    std::map<std::string, Issued> issued_;
    std::vector<Revoked> revoked_;
    std::size_t lines_ = 0; ///< in issued.jsonl
};

} // namespace weft::ca
