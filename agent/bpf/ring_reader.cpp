// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/ring_reader.hpp"

#include <bpf/libbpf.h>

#include "agent/bpf/kernel_map.hpp"
#include "agent/bpf/libbpf_log.hpp"

namespace weft::bpf {

struct RingReader::State {
    struct Free {
        void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
    };
    UniqueFd map; ///< our own: the data path may replace its objects while we read
    std::unique_ptr<ring_buffer, Free> ring;
    const std::function<void(const weft_event&)>* handle = nullptr;

    static int take(void* context, void* data, std::size_t size) {
        const auto* state = static_cast<State*>(context);
        // All records are of one type; a shorter one can only come from another version and is not guessed at.
        if (size >= sizeof(weft_event)) {
            (*state->handle)(*static_cast<const weft_event*>(data));
        }
        return 0;
    }
};

RingReader::RingReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
RingReader::RingReader(RingReader&&) noexcept = default;
RingReader& RingReader::operator=(RingReader&&) noexcept = default;
RingReader::~RingReader() = default;

Result<RingReader> RingReader::open(int map_fd) {
    auto state = std::make_unique<State>();
    WEFT_ASSIGN(state->map, duplicate(map_fd));
    const LibbpfLog log;
    state->ring.reset(ring_buffer__new(state->map.get(), State::take, state.get(), nullptr));
    if (state->ring == nullptr) {
        return system_failure("reading the event ring ({})", log.tail());
    }
    return RingReader(std::move(state));
}

int RingReader::fd() const {
    return ring_buffer__epoll_fd(state_->ring.get());
}

Result<std::size_t> RingReader::consume(const std::function<void(const weft_event&)>& handle) {
    state_->handle = &handle;
    const int taken = ring_buffer__consume(state_->ring.get());
    state_->handle = nullptr;
    if (taken < 0) {
        return failure(-taken, "reading the event ring: {}", std::strerror(-taken));
    }
    return static_cast<std::size_t>(taken);
}

} // namespace weft::bpf
