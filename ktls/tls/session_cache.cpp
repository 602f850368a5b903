// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A list in order of use, and an index into it.
#include "ktls/tls/session_cache.hpp"

#include <ctime>

namespace weft::ktls {

void SessionCache::put(const std::string& key, OsslPtr<SSL_SESSION> session) {
    const std::lock_guard lock(mutex_);
    if (limit_ == 0) {
        return;
    }
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
        found->second->session = std::move(session);
        entries_.splice(entries_.begin(), entries_, found->second);
        return;
    }
    entries_.push_front({key, std::move(session)});
    by_key_.emplace(key, entries_.begin());
    trim();
}

// What is used moves to the front, so an old session can hide behind a young one for a while, but not for ever.
void SessionCache::trim() {
    const long now = std::time(nullptr);
    while (entries_.size() > limit_ ||
           (!entries_.empty() && now - SSL_SESSION_get_time(entries_.back().session.get()) > seconds_)) {
        by_key_.erase(entries_.back().key);
        entries_.pop_back();
    }
}

OsslPtr<SSL_SESSION> SessionCache::get(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) {
        return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return OsslPtr<SSL_SESSION>(SSL_SESSION_dup(found->second->session.get()));
}

void SessionCache::remove(const std::string& key) {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
        entries_.erase(found->second);
        by_key_.erase(found);
    }
}

void SessionCache::clear() {
    const std::lock_guard lock(mutex_);
    by_key_.clear();
    entries_.clear();
}

std::size_t SessionCache::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

} // namespace weft::ktls
