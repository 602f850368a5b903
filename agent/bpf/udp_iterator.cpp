// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/udp_iterator.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>

#include "agent/bpf/libbpf_log.hpp"
#include "weft/abi/doom.h"
#include "weft/base/unique_fd.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" // generated code
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include "bpf/reaper.skel.h"
#pragma GCC diagnostic pop

namespace weft::bpf {

struct UdpIterator::Loaded {
    struct Destroy {
        void operator()(reaper_bpf* skeleton) const { reaper_bpf__destroy(skeleton); }
    };
    std::unique_ptr<reaper_bpf, Destroy> skeleton;
    UniqueFd link;

    [[nodiscard]] int doomed() const { return bpf_map__fd(skeleton->maps.weft_doomed); }
    Result<> put(std::span<const weft_conn* const> sockets) const;
    void clear(std::span<const weft_conn* const> sockets) const;
    Result<> run() const;
};

Result<> UdpIterator::Loaded::put(std::span<const weft_conn* const> sockets) const {
    for (const weft_conn* socket : sockets) {
        const weft_doom doom{socket->remote, WEFT_DOOM_PENDING};
        if (bpf_map_update_elem(doomed(), &socket->cookie, &doom, BPF_ANY) != 0) {
            return system_failure("naming a UDP socket that is to be destroyed");
        }
    }
    return {};
}

void UdpIterator::Loaded::clear(std::span<const weft_conn* const> sockets) const {
    for (const weft_conn* socket : sockets) {
        (void)bpf_map_delete_elem(doomed(), &socket->cookie); // one that was never put is as good
    }
}

Result<> UdpIterator::Loaded::run() const {
    const UniqueFd file(bpf_iter_create(link.get())); // walks this thread's network namespace
    if (!file.valid()) {
        return system_failure("starting the UDP iterator");
    }
    std::array<char, 256> nothing{}; // the program writes no text
    for (;;) {
        const ssize_t got = ::read(file.get(), nothing.data(), nothing.size());
        if (got == 0) {
            return {};
        }
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            return system_failure("walking over UDP sockets");
        }
    }
}

UdpIterator::UdpIterator(std::unique_ptr<Loaded> loaded) : loaded_(std::move(loaded)) {}
UdpIterator::UdpIterator(UdpIterator&&) noexcept = default;
UdpIterator& UdpIterator::operator=(UdpIterator&&) noexcept = default;
UdpIterator::~UdpIterator() = default;

Result<UdpIterator> UdpIterator::open() {
    auto loaded = std::make_unique<Loaded>();
    const LibbpfLog log;
    loaded->skeleton.reset(reaper_bpf__open());
    if (loaded->skeleton == nullptr) {
        return system_failure("opening the BPF object of the UDP iterator ({})", log.tail());
    }
    if (const int result = reaper_bpf__load(loaded->skeleton.get()); result != 0) {
        return failure(-result, "loading the UDP iterator: {}: {}", std::strerror(-result), log.tail());
    }
    const int program = bpf_program__fd(loaded->skeleton->progs.weft_reap_udp);
    loaded->link.reset(bpf_link_create(program, 0, BPF_TRACE_ITER, nullptr));
    if (!loaded->link.valid()) {
        return system_failure("making the UDP iterator");
    }
    return UdpIterator(std::move(loaded));
}

Result<std::vector<int>> UdpIterator::destroy(std::span<const weft_conn* const> sockets) {
    std::vector<int> fates;
    fates.reserve(sockets.size());
    while (!sockets.empty()) {
        const auto batch = sockets.first(std::min<std::size_t>(sockets.size(), WEFT_DOOMED_ENTRIES));
        auto done = loaded_->put(batch);
        if (done) {
            done = loaded_->run();
        }
        for (const weft_conn* socket : batch) {
            weft_doom doom{};
            const bool known = bpf_map_lookup_elem(loaded_->doomed(), &socket->cookie, &doom) == 0;
            fates.push_back(!known || doom.fate == WEFT_DOOM_PENDING ? ENOENT : -doom.fate);
        }
        loaded_->clear(batch);
        WEFT_TRY(done);
        sockets = sockets.subspan(batch.size());
    }
    return fates;
}

} // namespace weft::bpf
