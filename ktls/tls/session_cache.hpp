// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Sessions by name, at most `limit` of them and none older than `seconds`; the least recently used one goes first.
// Thread: any.
#pragma once

#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "weft/ktls/openssl_ptr.hpp"

namespace weft::ktls {

class SessionCache {
public:
    SessionCache(std::size_t limit, long seconds) : limit_(limit), seconds_(seconds) {}

    /// Replaces what the key had.
    void put(const std::string& key, OsslPtr<SSL_SESSION> session);
    /// A copy, as OpenSSL writes into the session of a connection; null when there is none.
    OsslPtr<SSL_SESSION> get(const std::string& key);
    void remove(const std::string& key);
    void clear();
    [[nodiscard]] std::size_t size() const;

private:
    struct Entry {
        std::string key;
        OsslPtr<SSL_SESSION> session;
    };
    /// Frees what is at the end of the list and cannot be used any more, or has no room.
    void trim();

    const std::size_t limit_;
    const long seconds_;
    // Held for a few list operations and one copy, by handshake workers only.
    mutable std::mutex mutex_;
    std::list<Entry> entries_; // most recently used first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

} // namespace weft::ktls
