// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/kernel_map.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>

namespace weft::bpf {
namespace {

// The kernel's ENOTSUPP: what a map type without batch operations answers; user space has no name for it.
constexpr int kNotSupported = 524;

bool no_batch(int code) {
    return code == kNotSupported || code == EOPNOTSUPP || code == EINVAL;
}

// Largest number of entries given to one system call; bounds both memory and the time spent in the kernel.
constexpr std::size_t kBatch = 4096;

} // namespace

Result<MapFacts> map_facts(int fd) {
    bpf_map_info info{};
    __u32 length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) {
        return system_failure("asking the kernel about a BPF map");
    }
    return MapFacts{info.name, info.type, info.key_size, info.value_size, info.max_entries, info.map_flags, info.id};
}

Result<UniqueFd> duplicate(int fd) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy.valid()) {
        return system_failure("duplicating a descriptor");
    }
    return copy;
}

Result<std::shared_ptr<KernelMap>> KernelMap::open(UniqueFd fd) {
    WEFT_ASSIGN(MapFacts facts, map_facts(fd.get()));
    return std::make_shared<KernelMap>(std::move(fd), std::move(facts));
}

Result<std::shared_ptr<KernelMap>> KernelMap::open_pinned(const std::string& path) {
    UniqueFd fd(bpf_obj_get(path.c_str()));
    if (!fd.valid()) {
        return system_failure("opening pinned map {}", path);
    }
    return open(std::move(fd));
}

Error KernelMap::refused(int code, const char* operation) const {
    if (code == E2BIG) {
        return {code, fmt::format("map {} is full ({} entries)", facts_.name, facts_.max_entries)};
    }
    return {code, fmt::format("{} map {}: {}", operation, facts_.name, std::strerror(code))};
}

Result<> KernelMap::update(Bytes key, Bytes value) {
    if (bpf_map_update_elem(fd_.get(), key.data(), value.data(), BPF_ANY) != 0) {
        // LPM tries report a full map as ENOSPC, hash maps as E2BIG: one code for callers.
        return std::unexpected(refused(errno == ENOSPC ? E2BIG : errno, "writing to"));
    }
    return {};
}

Batch KernelMap::update_batch(Bytes keys, Bytes values, std::size_t count) {
    Batch batch;
    while (batch.done < count) {
        const Bytes rest_keys = keys.subspan(batch.done * key_size());
        const Bytes rest_values = values.subspan(batch.done * value_size());
        // A single entry is cheaper and has the clearer error by the plain call.
        if (batch_update_ && count - batch.done > 1) {
            auto size = static_cast<__u32>(std::min(count - batch.done, kBatch));
            DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts);
            const int result = bpf_map_update_batch(fd_.get(), rest_keys.data(), rest_values.data(), &size, &opts);
            const int code = errno;
            if (result == 0) {
                batch.done += size;
                continue;
            }
            if (no_batch(code)) {
                batch_update_ = false; // `size` is not meaningful: nothing was written, or it is written again
                continue;
            }
            batch.done += std::min<std::size_t>(size, count - batch.done);
            batch.error = refused(code == ENOSPC ? E2BIG : code, "writing to");
            return batch;
        }
        if (auto written = update(rest_keys.first(key_size()), rest_values.first(value_size())); !written) {
            batch.error = written.error();
            return batch;
        }
        ++batch.done;
    }
    return batch;
}

Result<> KernelMap::remove(Bytes key) {
    if (bpf_map_delete_elem(fd_.get(), key.data()) != 0 && errno != ENOENT) {
        return std::unexpected(refused(errno, "removing from"));
    }
    return {};
}

Batch KernelMap::remove_batch(Bytes keys, std::size_t count) {
    Batch batch;
    while (batch.done < count) {
        const Bytes rest = keys.subspan(batch.done * key_size());
        if (batch_remove_ && count - batch.done > 1) {
            auto size = static_cast<__u32>(std::min(count - batch.done, kBatch));
            DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts);
            const int result = bpf_map_delete_batch(fd_.get(), rest.data(), &size, &opts);
            const int code = errno;
            if (result == 0) {
                batch.done += size;
                continue;
            }
            if (no_batch(code)) {
                batch_remove_ = false;
                continue;
            }
            batch.done += std::min<std::size_t>(size, count - batch.done);
            if (code == ENOENT && batch.done < count) {
                ++batch.done; // the entry at which it stopped is gone already, as wanted
                continue;
            }
            if (code == ENOENT) {
                continue;
            }
            batch.error = refused(code, "removing from");
            return batch;
        }
        if (auto removed = remove(rest.first(key_size())); !removed) {
            batch.error = removed.error();
            return batch;
        }
        ++batch.done;
    }
    return batch;
}

Result<std::optional<std::vector<std::byte>>> KernelMap::lookup(Bytes key) {
    std::vector<std::byte> value(value_size());
    if (bpf_map_lookup_elem(fd_.get(), key.data(), value.data()) != 0) {
        if (errno == ENOENT) {
            return std::nullopt;
        }
        return std::unexpected(refused(errno, "reading"));
    }
    return value;
}

Result<> KernelMap::for_each(const std::function<void(Bytes key, Bytes value)>& visit) {
    WEFT_ASSIGN(const bool done, for_each_batched(visit));
    return done ? Result<>{} : for_each_single(visit);
}

// False when this map cannot be read in batches; then nothing was visited.
Result<bool> KernelMap::for_each_batched(const std::function<void(Bytes key, Bytes value)>& visit) {
    if (facts_.type != BPF_MAP_TYPE_HASH) {
        return false; // only hash maps keep a position (a bucket) that survives between calls
    }
    std::size_t capacity = std::min<std::size_t>(1024, std::max<std::size_t>(facts_.max_entries, 16));
    std::vector<std::byte> keys(capacity * key_size());
    std::vector<std::byte> values(capacity * value_size());
    __u32 position = 0;
    __u32 next = 0;
    bool first = true;
    for (;;) {
        auto count = static_cast<__u32>(capacity);
        DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts);
        const int result = bpf_map_lookup_batch(fd_.get(), first ? nullptr : &position, &next, keys.data(),
                                                values.data(), &count, &opts);
        const int code = result == 0 ? 0 : errno;
        if (code == ENOSPC) { // a bucket with more entries than fit: read it again with more room
            capacity *= 2;
            keys.resize(capacity * key_size());
            values.resize(capacity * value_size());
            continue;
        }
        if (first && no_batch(code)) {
            return false;
        }
        if (code != 0 && code != ENOENT) {
            return std::unexpected(refused(code, "reading"));
        }
        for (std::size_t i = 0; i < count; ++i) {
            visit(Bytes(keys).subspan(i * key_size(), key_size()),
                  Bytes(values).subspan(i * value_size(), value_size()));
        }
        if (code == ENOENT) {
            return true;
        }
        position = next;
        first = false;
    }
}

Result<> KernelMap::for_each_single(const std::function<void(Bytes key, Bytes value)>& visit) {
    std::vector<std::byte> key(key_size());
    std::vector<std::byte> next(key_size());
    std::vector<std::byte> value(value_size());
    const void* previous = nullptr;
    while (bpf_map_get_next_key(fd_.get(), previous, next.data()) == 0) {
        key.swap(next);
        previous = key.data();
        if (bpf_map_lookup_elem(fd_.get(), key.data(), value.data()) == 0) {
            visit(key, value);
        }
    }
    if (errno != ENOENT) {
        return std::unexpected(refused(errno, "reading"));
    }
    return {};
}

} // namespace weft::bpf
