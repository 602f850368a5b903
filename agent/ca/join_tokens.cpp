// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A token is 32 random bytes, so a plain hash hides it and a look-up by hash gives no time to measure.
#include "agent/ca/join_tokens.hpp"

#include "agent/ca/pki/key.hpp"

namespace weft::ca {
namespace {

using Json = nlohmann::json;

constexpr const char* kFile = "tokens.json";
constexpr std::string_view kPrefix = "weft-join-";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kMostTokens = 10000;

} // namespace

Result<JoinTokens> JoinTokens::open(const StateFolder& folder, Time now) {
    JoinTokens tokens;
    const auto object = folder.read_json(kFile);
    if (!object) {
        if (object.error().code() == ENOENT) {
            return tokens;
        }
        return std::unexpected(object.error());
    }
    for (const auto& [hash, one] : object->items()) {
        const auto node = json_field<std::string>(one, "node");
        const auto created = json_field<std::int64_t>(one, "created");
        const auto expires = json_field<std::int64_t>(one, "expires");
        const auto used_by = json_field<std::string>(one, "used_by");
        if (!node || !created || !expires || !used_by) {
            return invalid("{}: entry {} is damaged: remove the entry or the file", folder.file(kFile), hash);
        }
        tokens.tokens_[hash] = {*node, Time(seconds(*created)), Time(seconds(*expires)), *used_by};
    }
    tokens.drop_expired(now);
    return tokens;
}

Result<std::string> JoinTokens::create(const StateFolder& folder, const std::string& node, seconds life, Time now) {
    drop_expired(now);
    if (tokens_.size() >= kMostTokens) {
        return failure(EAGAIN, "{} join tokens are open: wait until some expire", tokens_.size());
    }
    WEFT_ASSIGN(const auto secret, pki::random_hex(kSecretBytes));
    auto token = std::string(kPrefix) + secret;
    const auto hash = pki::sha256_hex(token);
    tokens_[hash] = {node, now, now + life, ""};
    if (auto saved = save(folder); !saved) {
        tokens_.erase(hash);
        return std::unexpected(saved.error());
    }
    return token;
}

Result<> JoinTokens::redeem(const StateFolder& folder, std::string_view token, const std::string& node,
                            const std::string& key_hash, Time now) {
    const auto found = tokens_.find(pki::sha256_hex(token));
    if (found == tokens_.end()) {
        return failure(EACCES, "unknown join token: make one with weft-ca token create");
    }
    auto& known = found->second;
    if (node != known.node) {
        return failure(EACCES, "the join token is for node {}, not for {}", known.node, node);
    }
    if (now >= known.expires) {
        return failure(EACCES, "the join token for node {} expired at {}", known.node, pki::time_text(known.expires));
    }
    if (!known.used_by.empty() && known.used_by != key_hash) {
        return failure(EACCES, "the join token for node {} was used before, with another key", known.node);
    }
    if (known.used_by.empty()) {
        known.used_by = key_hash;
        if (auto saved = save(folder); !saved) {
            known.used_by.clear();
            return std::unexpected(saved.error());
        }
    }
    return {};
}

Result<> JoinTokens::save(const StateFolder& folder) const {
    Json object = Json::object();
    for (const auto& [hash, one] : tokens_) {
        object[hash] = {{"node", one.node},
                        {"created", one.created.time_since_epoch().count()},
                        {"expires", one.expires.time_since_epoch().count()},
                        {"used_by", one.used_by}};
    }
    return folder.write_json(kFile, object);
}

void JoinTokens::drop_expired(Time now) {
    std::erase_if(tokens_, [now](const auto& entry) { return now >= entry.second.expires; });
}

} // namespace weft::ca
