// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A MapIo on a kernel map: batched system calls where the kernel and the map type have them, one by one elsewhere.
#pragma once

#include <memory>

#include "agent/bpf/map_io.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

/// Facts about a map, as the kernel tells them.
struct MapFacts {
    std::string name;
    std::uint32_t type = 0;
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t max_entries = 0;
    std::uint32_t flags = 0;
    std::uint32_t id = 0;
};

/// Asks the kernel about the map behind `fd`.
Result<MapFacts> map_facts(int fd);

/// A copy of `fd` that the caller owns.
Result<UniqueFd> duplicate(int fd);

class KernelMap final : public MapIo {
public:
    /// Takes the descriptor of a map whose values are not per CPU. Error: not a map.
    static Result<std::shared_ptr<KernelMap>> open(UniqueFd fd);
    /// The map pinned at `path`. Error: ENOENT when nothing is pinned there.
    static Result<std::shared_ptr<KernelMap>> open_pinned(const std::string& path);

    [[nodiscard]] const std::string& name() const override { return facts_.name; }
    [[nodiscard]] std::size_t key_size() const override { return facts_.key_size; }
    [[nodiscard]] std::size_t value_size() const override { return facts_.value_size; }
    [[nodiscard]] std::uint32_t max_entries() const override { return facts_.max_entries; }
    [[nodiscard]] int fd() const { return fd_.get(); }

    Result<> update(Bytes key, Bytes value) override;
    Batch update_batch(Bytes keys, Bytes values, std::size_t count) override;
    Result<> remove(Bytes key) override;
    Batch remove_batch(Bytes keys, std::size_t count) override;
    Result<std::optional<std::vector<std::byte>>> lookup(Bytes key) override;
    Result<> for_each(const std::function<void(Bytes key, Bytes value)>& visit) override;

    KernelMap(UniqueFd fd, MapFacts facts) : fd_(std::move(fd)), facts_(std::move(facts)) {}

private:
    [[nodiscard]] Error refused(int code, const char* operation) const;
    Result<bool> for_each_batched(const std::function<void(Bytes key, Bytes value)>& visit);
    Result<> for_each_single(const std::function<void(Bytes key, Bytes value)>& visit);

    UniqueFd fd_;
    MapFacts facts_;
    bool batch_update_ = true; ///< until the kernel says otherwise
    bool batch_remove_ = true;
};

} // namespace weft::bpf
