// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where does the access log go? Lines wait in a short queue for a thread that writes them, so a slow or full disk never
// holds up the agent. What cannot be written is lost and counted by cause; the next line is tried anew. In a file, a
// line is written whole or not at all.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "agent/telemetry/access_line.hpp"
#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::telemetry {

/// Where to write, how much, and what.
struct AccessLogOptions {
    std::string path; ///< "stdout" or a file, which is appended to; mode 0640 when it is made
    std::uint64_t max_bytes = 64u << 20; ///< a regular file that would become larger is put aside as PATH.1
    unsigned files = 5; ///< PATH.1 (newest) to PATH.N are kept; 0: a full file is begun anew
    std::map<std::string, unsigned> sampling = {}; ///< namespace, or "*", to percent; denials are always written
};

class AccessLog {
public:
    /// Opens the file and starts the thread. Errors: the system's own, naming the file.
    static Result<std::unique_ptr<AccessLog>> start(AccessLogOptions options);
    /// Writes what waits.
    ~AccessLog();
    AccessLog(const AccessLog&) = delete;
    AccessLog& operator=(const AccessLog&) = delete;

    /// Queues the flow's line, if it has one and is chosen. Never waits for the disk. Thread: any.
    void add(const flow::Flow& flow);

    /// Lines since the start, by what became of them.
    struct Stats {
        std::uint64_t written = 0;
        std::uint64_t sampled_out = 0;
        std::uint64_t queue_full = 0; ///< came faster than the disk takes them
        std::uint64_t disk_full = 0; ///< no space, or no quota
        std::uint64_t failed = 0; ///< any other error
        std::uint64_t rotations = 0;
        std::string last_error; ///< of writing or putting aside; empty: none yet
        [[nodiscard]] std::uint64_t lost() const { return queue_full + disk_full + failed; }
    };
    [[nodiscard]] Stats stats() const;

private:
    explicit AccessLog(AccessLogOptions options) : options_(std::move(options)) {}
    Result<> open_file();
    [[nodiscard]] bool chosen(const AccessLine& line) const;
    void run();
    void write(std::string line);
    void make_room(std::size_t bytes);
    Result<> rotate();
    void note(const Error& error, std::uint64_t Stats::* counter);

    AccessLogOptions options_;
    UniqueFd file_; ///< thread: the writer's, once it runs
    bool regular_ = false; ///< a file with a size, which can be put aside and cut
    std::uint64_t size_ = 0;
    bool torn_ = false; ///< the file ends in half a line
    std::uint64_t retry_at_ = 0; ///< size at which rotation is tried again after it failed

    mutable std::mutex mutex_; ///< guards what follows: the agent's thread hands lines over, the writer takes them
    std::condition_variable news_;
    std::deque<std::string> waiting_;
    Stats stats_;
    bool stopping_ = false;
    std::thread writer_;
};

} // namespace weft::telemetry
