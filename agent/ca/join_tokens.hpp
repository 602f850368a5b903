// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Join tokens: who may become a node, once, for a while. Only hashes are kept. Thread: one at a time.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "agent/ca/authority.hpp"

namespace weft::ca {

struct JoinToken {
    std::string node;
    Time created;
    Time expires;
    std::string used_by; ///< hash of the public key that used it; empty: nobody
};

class JoinTokens {
public:
    static Result<JoinTokens> open(const StateFolder& folder, Time now);

    /// A new token, as text for the node's administrator. Error: EAGAIN when too many are open.
    Result<std::string> create(const StateFolder& folder, const std::string& node, seconds life, Time now);
    /// Lets a node join. The token is used up from then on, but for the same key: an answer may be lost on its way.
    /// Errors: EACCES unknown, for another node (and not used up), expired or used by another key.
    Result<> redeem(const StateFolder& folder, std::string_view token, const std::string& node,
                    const std::string& key_hash, Time now);
    /// By hash; used and expired ones are among them.
    [[nodiscard]] const std::map<std::string, JoinToken>& all() const { return tokens_; }

private:
    [[nodiscard]] Result<> save(const StateFolder& folder) const;
    void drop_expired(Time now);

    std::map<std::string, JoinToken> tokens_;
};

} // namespace weft::ca
