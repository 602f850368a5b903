// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do two versions of a large table share what is the same in both? A sorted map of immutable chunks: a copy copies
// pointers to chunks, a write makes one new chunk, and a comparison of two versions skips the chunks that they share.
// Copies may be read by other threads while the original is written.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace weft {

template <typename Key, typename Value>
class SortedMap {
public:
    using key_type = Key;
    using mapped_type = Value;
    using value_type = std::pair<Key, Value>;

private:
    using Chunk = std::vector<value_type>; ///< sorted, never empty, at most kChunkSize long
    using Chunks = std::vector<std::shared_ptr<const Chunk>>;

public:
    /// Stays valid as long as its map is not written.
    class const_iterator {
    public:
        using iterator_category = std::forward_iterator_tag;
        using value_type = SortedMap::value_type;
        using difference_type = std::ptrdiff_t;
        using pointer = const value_type*;
        using reference = const value_type&;

        const_iterator() = default;
        reference operator*() const { return (*(*chunks_)[chunk_])[entry_]; }
        pointer operator->() const { return &**this; }
        const_iterator& operator++() {
            if (++entry_ == (*chunks_)[chunk_]->size()) {
                ++chunk_;
                entry_ = 0;
            }
            return *this;
        }
        const_iterator operator++(int) {
            const_iterator before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(const const_iterator&, const const_iterator&) = default;

    private:
        friend class SortedMap;
        const_iterator(const Chunks* chunks, std::size_t chunk, std::size_t entry)
            : chunks_(chunks), chunk_(chunk), entry_(entry) {}

        const Chunks* chunks_ = nullptr;
        std::size_t chunk_ = 0;
        std::size_t entry_ = 0;
    };
    using iterator = const_iterator;

    SortedMap() = default;
    SortedMap(std::initializer_list<value_type> entries) {
        for (const value_type& entry : entries) {
            insert_or_assign(entry.first, entry.second);
        }
    }

    [[nodiscard]] const_iterator begin() const { return {&chunks_, 0, 0}; }
    [[nodiscard]] const_iterator end() const { return {&chunks_, chunks_.size(), 0}; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }

    [[nodiscard]] const_iterator find(const Key& key) const {
        const const_iterator at = lower_bound(key);
        return at != end() && !(key < at->first) ? at : end();
    }
    [[nodiscard]] bool contains(const Key& key) const { return find(key) != end(); }
    /// The value of a key that the map contains.
    [[nodiscard]] const Value& at(const Key& key) const { return find(key)->second; }
    /// The first entry whose key is not less.
    [[nodiscard]] const_iterator lower_bound(const Key& key) const {
        const auto chunk = std::ranges::lower_bound(chunks_, key, {}, last_key);
        if (chunk == chunks_.end()) {
            return end();
        }
        const auto entry = std::ranges::lower_bound(**chunk, key, {}, &value_type::first);
        return {&chunks_, index(chunk - chunks_.begin()), index(entry - (*chunk)->begin())};
    }

    void insert_or_assign(const Key& key, Value value) {
        const_iterator at = lower_bound(key);
        if (at != end() && !(key < at->first)) {
            Chunk changed = *chunks_[at.chunk_];
            changed[at.entry_].second = std::move(value);
            replace(at.chunk_, std::move(changed));
            return;
        }
        ++size_;
        if (at == end()) { // an ascending sequence fills one chunk after another
            if (chunks_.empty() || chunks_.back()->size() == kChunkSize) {
                chunks_.push_back(std::make_shared<const Chunk>(Chunk{{key, std::move(value)}}));
                return;
            }
            at = {&chunks_, chunks_.size() - 1, chunks_.back()->size()};
        }
        Chunk changed;
        changed.reserve(kChunkSize + 1);
        changed = *chunks_[at.chunk_];
        changed.emplace(changed.begin() + static_cast<std::ptrdiff_t>(at.entry_), key, std::move(value));
        if (changed.size() > kChunkSize) {
            const auto middle = changed.begin() + kChunkSize / 2;
            chunks_.insert(
                chunks_.begin() + static_cast<std::ptrdiff_t>(at.chunk_) + 1,
                std::make_shared<const Chunk>(std::make_move_iterator(middle), std::make_move_iterator(changed.end())));
            changed.erase(middle, changed.end());
        }
        replace(at.chunk_, std::move(changed));
    }

    /// Does nothing when the key is there already.
    void try_emplace(const Key& key, Value value) {
        if (!contains(key)) {
            insert_or_assign(key, std::move(value));
        }
    }

    /// The number of entries removed: 0 or 1.
    std::size_t erase(const Key& key) {
        const const_iterator at = find(key);
        if (at == end()) {
            return 0;
        }
        --size_;
        const auto chunk = chunks_.begin() + static_cast<std::ptrdiff_t>(at.chunk_);
        if ((*chunk)->size() == 1) {
            chunks_.erase(chunk);
            return 1;
        }
        Chunk changed = **chunk;
        changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(at.entry_));
        // Joined with what follows when both are small, so that many removals leave no trail of tiny chunks.
        if (const auto next = chunk + 1; next != chunks_.end() && changed.size() + (*next)->size() <= kChunkSize / 2) {
            changed.insert(changed.end(), (*next)->begin(), (*next)->end());
            chunks_.erase(next);
        }
        replace(at.chunk_, std::move(changed));
        return 1;
    }

    void clear() { *this = {}; }

    friend bool operator==(const SortedMap& a, const SortedMap& b) {
        bool same = a.size_ == b.size_;
        if (same) {
            for_each_difference(a, b, [&](const value_type* before, const value_type* after) {
                same = same && before != nullptr && after != nullptr && before->second == after->second;
            });
        }
        return same;
    }

    /// Calls `changed(key, before, after)` for every entry that only one map has, or whose values differ; `before` and
    /// `after` are pointers to the values, null where there is none. In order of the keys.
    template <typename Changed>
    static void for_each_change(const SortedMap& before, const SortedMap& after, Changed changed) {
        for_each_difference(before, after, [&](const value_type* a, const value_type* b) {
            if (a == nullptr || b == nullptr || !(a->second == b->second)) {
                changed((a != nullptr ? a : b)->first, a != nullptr ? &a->second : nullptr,
                        b != nullptr ? &b->second : nullptr);
            }
        });
    }

private:
    // A write copies one chunk, a copy of the map one pointer for each: 32 keeps both at microseconds for 100,000
    // entries.
    static constexpr std::size_t kChunkSize = 32;

    static const Key& last_key(const std::shared_ptr<const Chunk>& chunk) { return chunk->back().first; }
    static std::size_t index(std::ptrdiff_t distance) { return static_cast<std::size_t>(distance); }
    void replace(std::size_t chunk, Chunk&& changed) {
        changed.shrink_to_fit();
        chunks_[chunk] = std::make_shared<const Chunk>(std::move(changed));
    }

    /// One walk side by side, over what is not shared; equal entries of chunks that differ are visited too.
    template <typename Visit>
    static void for_each_difference(const SortedMap& before, const SortedMap& after, Visit visit) {
        const_iterator a = before.begin();
        const_iterator b = after.begin();
        while (a != before.end() || b != after.end()) {
            if (b == after.end() || (a != before.end() && a->first < b->first)) {
                visit(&*a++, nullptr);
            } else if (a == before.end() || b->first < a->first) {
                visit(nullptr, &*b++);
            } else if (a.entry_ == 0 && b.entry_ == 0 && before.chunks_[a.chunk_] == after.chunks_[b.chunk_]) {
                ++a.chunk_;
                ++b.chunk_;
            } else {
                visit(&*a++, &*b++);
            }
        }
    }

    Chunks chunks_; ///< sorted by their keys
    std::size_t size_ = 0;
};

} // namespace weft
