// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/access_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace weft::telemetry {
namespace {

constexpr mode_t kMode = 0640;
/// Some seconds of a busy node. Denials may fill as much again, so that a crowd of ordinary lines does not push them
/// out.
constexpr std::size_t kQueue = 8192;
constexpr std::size_t kQueueOfDenials = 2 * kQueue;

} // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::start(AccessLogOptions options) {
    std::unique_ptr<AccessLog> log(new AccessLog(std::move(options)));
    WEFT_TRY(log->open_file());
    log->writer_ = std::thread([raw = log.get()] { raw->run(); });
    return log;
}

AccessLog::~AccessLog() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    news_.notify_one();
    if (writer_.joinable()) {
        writer_.join();
    }
}

Result<> AccessLog::open_file() {
    UniqueFd opened(options_.path == "stdout"
                        ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
                        : ::open(options_.path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode));
    struct stat found{};
    if (!opened.valid() || ::fstat(opened.get(), &found) != 0) {
        return system_failure("cannot open the access log {}", options_.path);
    }
    file_ = std::move(opened);
    regular_ = S_ISREG(found.st_mode) && options_.path != "stdout";
    size_ = static_cast<std::uint64_t>(found.st_size);
    return {};
}

bool AccessLog::chosen(const AccessLine& line) const {
    if (line.denied) {
        return true;
    }
    auto share = options_.sampling.find(line.namespace_name);
    if (share == options_.sampling.end()) {
        share = options_.sampling.find("*");
    }
    return share == options_.sampling.end() || line.key % 100 < share->second;
}

void AccessLog::add(const flow::Flow& flow) {
    auto line = access_line(flow);
    if (!line) {
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        if (!chosen(*line)) {
            ++stats_.sampled_out;
            return;
        }
        if (waiting_.size() >= (line->denied ? kQueueOfDenials : kQueue)) {
            ++stats_.queue_full;
            return;
        }
        line->text += '\n';
        waiting_.push_back(std::move(line->text));
    }
    news_.notify_one();
}

AccessLog::Stats AccessLog::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

void AccessLog::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        news_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) {
            return;
        }
        auto line = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        write(std::move(line));
        lock.lock();
    }
}

void AccessLog::note(const Error& error, std::uint64_t Stats::* counter) {
    const std::lock_guard lock(mutex_);
    stats_.last_error = error.message();
    if (counter != nullptr) {
        ++(stats_.*counter);
    }
}

void AccessLog::write(std::string line) {
    if (torn_) {
        line.insert(line.begin(), '\n');
    }
    make_room(line.size());
    std::size_t done = 0;
    while (done < line.size()) {
        const auto wrote = ::write(file_.get(), line.data() + done, line.size() - done);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            const int code = wrote < 0 ? errno : EIO;
            // Half a line is cut off; what cannot be cut is at least ended before the next one.
            if (done > 0 && (!regular_ || ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)) {
                size_ += done;
                torn_ = true;
            }
            note(Error(code, fmt::format("cannot write to the access log {}: {}", options_.path, std::strerror(code))),
                 code == ENOSPC || code == EDQUOT ? &Stats::disk_full : &Stats::failed);
            return;
        }
        done += static_cast<std::size_t>(wrote);
    }
    size_ += line.size();
    torn_ = false;
    const std::lock_guard lock(mutex_);
    ++stats_.written;
}

void AccessLog::make_room(std::size_t bytes) {
    if (!regular_ || size_ == 0 || size_ + bytes <= options_.max_bytes || size_ < retry_at_) {
        return;
    }
    if (auto done = rotate(); !done) {
        retry_at_ = size_ + options_.max_bytes / 16; // the file grows meanwhile: better than losing lines
        note(done.error(), nullptr);
        return;
    }
    retry_at_ = 0;
    const std::lock_guard lock(mutex_);
    ++stats_.rotations;
}

Result<> AccessLog::rotate() {
    const auto& path = options_.path;
    const auto numbered = [&](unsigned number) { return fmt::format("{}.{}", path, number); };
    if (options_.files == 0) {
        if (::ftruncate(file_.get(), 0) != 0) {
            return system_failure("cannot empty the access log {}", path);
        }
        size_ = 0;
        return {};
    }
    for (unsigned number = options_.files; number-- > 1;) {
        if (::rename(numbered(number).c_str(), numbered(number + 1).c_str()) != 0 && errno != ENOENT) {
            return system_failure("cannot put {} aside", numbered(number));
        }
    }
    if (::rename(path.c_str(), numbered(1).c_str()) != 0 && errno != ENOENT) {
        return system_failure("cannot put the full access log {} aside", path);
    }
    // Until this succeeds, lines go on to the file that was put aside.
    return open_file();
}

} // namespace weft::telemetry
