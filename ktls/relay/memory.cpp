// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Makes, maps and takes over the memory file.
#include "ktls/relay/memory.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weft::relay {
namespace {

std::size_t round_up(std::size_t size) {
    return (size + 63) / 64 * 64;
}

std::size_t bits_size(std::uint32_t slots) {
    return (slots + 63) / 64 * sizeof(std::uint64_t);
}

std::size_t whole_size(std::uint32_t slots, std::uint32_t pipes) {
    return round_up(sizeof(Header)) + round_up(slots * sizeof(Slot)) + round_up(pipes * sizeof(Pipe)) +
           round_up(slots * sizeof(Label)) + bits_size(slots) * (kMaxThreads + 1);
}

} // namespace

bool Memory::map(std::size_t size) {
    base_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    header_ = static_cast<Header*>(base_);
    return base_ != MAP_FAILED;
}

void Memory::lay_out(std::uint32_t slots, std::uint32_t pipes) {
    auto* at = static_cast<std::uint8_t*>(base_) + round_up(sizeof(Header));
    slots_ = reinterpret_cast<Slot*>(at);
    at += round_up(slots * sizeof(Slot));
    pipes_ = reinterpret_cast<Pipe*>(at);
    at += round_up(pipes * sizeof(Pipe));
    labels_ = reinterpret_cast<Label*>(at);
    at += round_up(slots * sizeof(Label));
    parent_bits_ = reinterpret_cast<Word*>(at);
    child_bits_ = reinterpret_cast<Word*>(at + bits_size(slots));
}

bool Memory::create(std::uint32_t slots, std::uint32_t pipes, std::uint32_t threads) {
    // Without MFD_CLOEXEC: the file must outlive the program.
    fd_ = ::memfd_create("weft-relay", 0);
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(whole_size(slots, pipes))) != 0 ||
        !map(whole_size(slots, pipes))) {
        return false;
    }
    header_->layout = kLayout;
    header_->slots = slots;
    header_->pipes = pipes;
    header_->threads = threads;
    header_->watcher = -1;
    header_->upgrading = -1;
    std::ranges::fill(header_->clients, -1);
    std::ranges::fill(header_->epoll, -1);
    lay_out(slots, pipes);
    for (Pipe& pipe : this->pipes()) {
        pipe = {-1, -1};
    }
    return true;
}

bool Memory::resume(int fd) {
    fd_ = fd;
    struct stat file{};
    if (::fstat(fd, &file) != 0) {
        return false;
    }
    const auto size = static_cast<std::size_t>(file.st_size);
    if (size < sizeof(Header) || !map(size)) {
        errno = size < sizeof(Header) ? EPROTO : errno;
        return false;
    }
    if (header_->layout != kLayout || size != whole_size(header_->slots, header_->pipes)) {
        errno = EPROTO;
        return false;
    }
    lay_out(header_->slots, header_->pipes);
    return true;
}

void Memory::tell_child(std::uint32_t slot) {
    const std::uint32_t thread = slot % header_->threads;
    child_bits_[thread * words() + slot / 64].fetch_or(std::uint64_t{1} << slot % 64);
    const std::uint64_t one = 1;
    (void)!::write(header_->to_child[thread], &one, sizeof one); // cannot fill up: the reader takes it all
}

void Memory::tell_parent(std::uint32_t slot) {
    parent_bits_[slot / 64].fetch_or(std::uint64_t{1} << slot % 64);
    const std::uint64_t one = 1;
    (void)!::write(header_->to_parent, &one, sizeof one);
}

} // namespace weft::relay
