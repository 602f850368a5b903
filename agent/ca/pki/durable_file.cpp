// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Order of writing: data, fsync, rename, fsync of the folder. Links are not followed where we write.
#include "agent/ca/pki/durable_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weft/base/unique_fd.hpp"

namespace weft::pki {
namespace {

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) {
        return ".";
    }
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> sync_folder(const std::string& path) {
    const auto folder = folder_of(path);
    const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid() || ::fsync(fd.get()) != 0) {
        return system_failure("sync folder {}", folder);
    }
    return {};
}

Result<> write_all(int fd, std::string_view bytes, const std::string& path) {
    while (!bytes.empty()) {
        const ssize_t put = ::write(fd, bytes.data(), bytes.size());
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return system_failure("write {}", path);
        }
        bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
}

Result<> check_owner(const struct stat& found, const std::string& path) {
    if (found.st_uid != ::geteuid() && found.st_uid != 0) {
        return failure(EPERM, "{} belongs to user {}: it must belong to user {} (chown it)", path, found.st_uid,
                       ::geteuid());
    }
    return {};
}

} // namespace

Result<> make_private_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0) {
        return sync_folder(path);
    }
    if (errno != EEXIST) {
        return system_failure("make folder {}", path);
    }
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) {
        return system_failure("look at folder {}", path);
    }
    if (!S_ISDIR(found.st_mode)) {
        return failure(ENOTDIR, "{} is no folder", path);
    }
    WEFT_TRY(check_owner(found, path));
    if ((found.st_mode & 077) != 0) {
        return failure(EPERM, "folder {} has mode {:04o}: others may look into it; run chmod 700 {}", path,
                       found.st_mode & 07777, path);
    }
    return {};
}

Result<std::string> read_private(const std::string& path, Access access, std::size_t most) {
    // Not blocking, so that a pipe in its place is an error and no hang.
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) {
        return system_failure("open {}", path);
    }
    struct stat found{};
    if (::fstat(fd.get(), &found) != 0) {
        return system_failure("look at {}", path);
    }
    if (!S_ISREG(found.st_mode)) {
        return invalid("{} is no regular file", path);
    }
    WEFT_TRY(check_owner(found, path));
    const mode_t wrong = found.st_mode & (access == Access::kOwner ? 077 : 022);
    if (wrong != 0) {
        return failure(EPERM, "{} has mode {:04o}: others may {} it; run chmod {} {}", path, found.st_mode & 07777,
                       access == Access::kOwner ? "read" : "write", access == Access::kOwner ? "600" : "644", path);
    }
    std::string bytes(most + 1, '\0');
    std::size_t size = 0;
    while (size < bytes.size()) {
        const ssize_t got = ::read(fd.get(), bytes.data() + size, bytes.size() - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return system_failure("read {}", path);
        }
        if (got == 0) {
            break;
        }
        size += static_cast<std::size_t>(got);
    }
    if (size > most) {
        return failure(EFBIG, "{} is longer than {} bytes", path, most);
    }
    bytes.resize(size);
    return bytes;
}

Result<> write_durable(const std::string& path, std::string_view bytes, Access access) {
    const std::string side = path + ".new";
    const mode_t mode = access == Access::kOwner ? 0600 : 0644;
    // What a killed writer left may have another mode or be somebody's link.
    if (::unlink(side.c_str()) != 0 && errno != ENOENT) {
        return system_failure("remove {}", side);
    }
    const UniqueFd fd(::open(side.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd.valid()) {
        return system_failure("create {}", side);
    }
    auto written = write_all(fd.get(), bytes, side);
    if (written && (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0)) {
        written = system_failure("sync {}", side);
    }
    if (written && ::rename(side.c_str(), path.c_str()) != 0) {
        written = system_failure("rename {} to {}", side, path);
    }
    if (!written) {
        (void)::unlink(side.c_str()); // best effort: the first fault is the one to report
        return written;
    }
    return sync_folder(path);
}

Result<> append_line(const std::string& path, std::string_view line, bool sync) {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) {
        return system_failure("open {}", path);
    }
    const off_t size = ::lseek(fd.get(), 0, SEEK_END);
    char last = '\n';
    if (size > 0 && ::pread(fd.get(), &last, 1, size - 1) != 1) {
        return system_failure("read {}", path);
    }
    std::string text;
    if (last != '\n') {
        text += '\n';
    }
    text += line;
    text += '\n';
    WEFT_TRY(write_all(fd.get(), text, path));
    if (sync && ::fdatasync(fd.get()) != 0) {
        return system_failure("sync {}", path);
    }
    return size == 0 && sync ? sync_folder(path) : Result<>{};
}

Result<> remove_durable(const std::string& path) {
    if (::unlink(path.c_str()) != 0) {
        return errno == ENOENT ? Result<>{} : system_failure("remove {}", path);
    }
    return sync_folder(path);
}

} // namespace weft::pki
