// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Patterned streams: every byte follows from its position, so that what is lost, doubled or swapped is seen at once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <thread>

#include "weft/base/unique_fd.hpp"

namespace weft::ktls::test {

/// How a stream that is written is to end.
enum class Ending : std::uint8_t {
    kNone,        ///< it stays open
    kShutdown,    ///< FIN; on a TLS socket close_notify before it
    kTruncate,    ///< FIN without close_notify
    kCloseNotify, ///< close_notify without FIN
};

struct WriteOptions {
    bool tls = false; ///< a kTLS socket
    Ending ending = Ending::kShutdown;
    std::size_t step = 0;      ///< bytes per call; 0: odd sizes from 1 to 100003
    std::uint64_t offset = 0;  ///< where in the pattern to begin
};

/// How reading ended.
enum class End : std::uint8_t { kComplete, kFin, kCloseNotify, kReset, kError };

struct ReadReport {
    std::uint64_t bytes = 0;
    std::uint64_t first_wrong = ~std::uint64_t{0}; ///< offset of the first wrong byte; all ones: none
    End end = End::kError;
    int error = 0;

    /// "got N bytes ..." for messages.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool intact(std::uint64_t expected) const {
        return bytes == expected && first_wrong == ~std::uint64_t{0};
    }
};

struct ReadOptions {
    bool tls = false;            ///< a kTLS socket: record types are looked at
    bool until_end = true;       ///< false: until `size` bytes are there
    int pause_microseconds = 0;  ///< after each call: a slow reader
    std::uint64_t offset = 0;
};

/// Byte of the pattern at a position.
std::uint8_t pattern_at(std::uint64_t position);
/// Blocking. 0 or errno.
int write_pattern(int fd, std::uint64_t size, const WriteOptions& options = {});
/// `on_key_update` is called when a KeyUpdate was read.
ReadReport read_pattern(int fd, std::uint64_t size, const ReadOptions& options = {},
                        const std::function<void()>& on_key_update = {});

/// The same in a thread; joined with the object.
class Writer {
public:
    Writer(int fd, std::uint64_t size, const WriteOptions& options = {})
        : thread_([this, fd, size, options] { result_ = write_pattern(fd, size, options); }) {}
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    ~Writer() { (void)result(); }
    int result() {
        if (thread_.joinable()) {
            thread_.join();
        }
        return result_;
    }

private:
    int result_ = 0;
    std::thread thread_;
};

/// Record type 21 with close_notify on a kTLS socket. 0 or errno.
int send_alert(int fd, std::uint8_t level, std::uint8_t number);
/// Makes close(2) send RST.
void reset_on_close(int fd);

} // namespace weft::ktls::test
