// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reading is bounded, and never blocks on what only looks like a file.
#include "agent/source/manifest_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::source {
namespace {

std::int64_t nanoseconds(const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<std::string> read_whole(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd.valid()) {
        return system_failure("open");
    }
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) {
        return system_failure("stat");
    }
    if (!S_ISREG(status.st_mode)) {
        return invalid("it is not a regular file");
    }
    // One byte more than is allowed: the parser then says that it is too much.
    std::string text(std::min(static_cast<std::size_t>(status.st_size), k8s::kMaxTextBytes) + 1, '\0');
    std::size_t filled = 0;
    while (filled < text.size()) {
        const ssize_t got = ::read(fd.get(), text.data() + filled, text.size() - filled);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return system_failure("read");
        }
        if (got == 0) {
            break;
        }
        filled += static_cast<std::size_t>(got);
        if (filled == text.size() && filled <= k8s::kMaxTextBytes) { // it grew since
            text.resize(std::min(text.size() * 2, k8s::kMaxTextBytes + 1));
        }
    }
    text.resize(filled);
    return text;
}

} // namespace

bool is_manifest_name(std::string_view name) {
    return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

std::optional<FileMark> mark_of(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
        return {};
    }
    return FileMark{status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
                    nanoseconds(status.st_ctim)};
}

k8s::ParseOutcome read_manifest(const std::string& path) {
    auto text = read_whole(path);
    if (text) {
        return k8s::parse_documents(*text, path);
    }
    k8s::ParseOutcome outcome;
    outcome.incomplete = true;
    outcome.refusals.push_back(
        {{},
         {path, 0},
         {},
         fmt::format("the file cannot be read: {}; what it defined before stays in force", text.error().message()),
         false});
    return outcome;
}

} // namespace weft::source
