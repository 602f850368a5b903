// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One thread waits for inotify, and looks again every few seconds for file systems that do not tell.
#include "agent/identity/files_source.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include <openssl/err.h>

#include "agent/ca/pki/chain.hpp"
#include "agent/identity/small_file.hpp"
#include "agent/source/folder_watch.hpp"

namespace weft::identity {
namespace {

namespace fs = std::filesystem;

constexpr int kRescanMs = 10'000;
constexpr const char* kCertificate = "tls.crt";
constexpr const char* kKey = "tls.key";
constexpr const char* kRoots = "ca.crt";

/// What one folder holds.
struct Loaded {
    SpiffeId id;
    Svid svid;
    std::vector<OsslPtr<X509>> roots;
};

Svid share_svid(const Svid& svid) {
    Svid copy{ktls::share(svid.key.get()), {}};
    for (const auto& one : svid.chain) {
        copy.chain.push_back(ktls::share(one.get()));
    }
    return copy;
}

Result<Loaded> load(const std::string& folder) {
    const auto path = [&](const char* name) { return folder + "/" + name; };
    WEFT_ASSIGN(const auto key_text, read_small_file(path(kKey)));
    WEFT_ASSIGN(const auto chain_text, read_small_file(path(kCertificate)));
    WEFT_ASSIGN(const auto roots_text, read_small_file(path(kRoots)));
    auto key = ktls::key_from_pem(key_text);
    if (!key) {
        return std::unexpected(key.error().within(path(kKey)));
    }
    auto chain = ktls::certificates_from_pem(chain_text);
    if (!chain) {
        return std::unexpected(chain.error().within(path(kCertificate)));
    }
    auto roots = ktls::certificates_from_pem(roots_text);
    if (!roots) {
        return std::unexpected(roots.error().within(path(kRoots)));
    }
    auto id = ktls::spiffe_id_of(chain->front().get());
    if (!id) {
        return std::unexpected(id.error().within(path(kCertificate) + ": subject alternative name"));
    }
    if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
        ERR_clear_error();
        return invalid("{}: public key: {} is not its key", path(kCertificate), path(kKey));
    }
    // Dates are the Keeper's business, who has the clock.
    if (auto valid = pki::verify_chain(*chain, *roots, pki::Purpose::kAny, std::nullopt); !valid) {
        return std::unexpected(
            valid.error().within(fmt::format("{}: does not lead to {}", path(kCertificate), path(kRoots))));
    }
    return Loaded{std::move(*id), {std::move(*key), std::move(*chain)}, std::move(*roots)};
}

/// The folder itself, or those in it that hold a certificate; hidden ones are Kubernetes's own.
std::vector<std::string> folders_below(const std::string& top) {
    std::error_code error;
    if (fs::exists(top + "/" + kCertificate, error)) {
        return {top};
    }
    std::vector<std::string> found;
    for (fs::directory_iterator at(top, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        if (!at->path().filename().string().starts_with(".") && at->is_directory(ignored)) {
            found.push_back(at->path().string());
        }
    }
    std::ranges::sort(found);
    return found;
}

class FilesSource final : public Source {
public:
    FilesSource(std::string folder, source::FolderWatch watch, UniqueFd wake)
        : folder_(std::move(folder)), watch_(std::move(watch)), wake_(std::move(wake)) {
        reload();
        thread_ = std::thread([this] { loop(); });
    }
    ~FilesSource() override {
        (void)::eventfd_write(wake_.get(), 1); // cannot fail: the counter is far from full
        thread_.join();
    }

    [[nodiscard]] std::string name() const override { return "files " + folder_; }
    void listen(std::function<void()> changed) override {
        const std::scoped_lock lock(mutex_);
        changed_ = std::move(changed);
    }
    Result<> upkeep(Time) override {
        const std::scoped_lock lock(mutex_);
        // Troubles of a folder whose identity is known are reported with the identity.
        for (const auto& [folder, trouble] : troubles_) {
            if (!trouble.second.empty() && !good_.contains(folder)) {
                return std::unexpected(Error(trouble.first, trouble.second));
            }
        }
        return {};
    }
    Result<Svid> obtain(const SpiffeId& id) override {
        const std::scoped_lock lock(mutex_);
        for (const auto& [folder, loaded] : good_) {
            if (loaded.id == id) {
                if (const auto bad = troubles_.find(folder); bad != troubles_.end()) {
                    return std::unexpected(Error(bad->second.first, bad->second.second));
                }
                return share_svid(loaded.svid);
            }
        }
        const auto why = troubles_.empty() ? std::string() : "; " + troubles_.begin()->second.second;
        return failure(ENOENT, "no {} below {} is for {}{}", kCertificate, folder_, id.to_string(), why);
    }
    [[nodiscard]] bool renews_itself() const override { return true; }
    [[nodiscard]] std::uint64_t generation() const override {
        const std::scoped_lock lock(mutex_);
        return generation_;
    }
    [[nodiscard]] TrustPtr trust() const override {
        const std::scoped_lock lock(mutex_);
        return trust_;
    }

private:
    void reload() {
        std::function<void()> changed;
        const auto folders = folders_below(folder_);
        watch(folders);
        {
            const std::scoped_lock lock(mutex_);
            bool news = std::erase_if(good_, [&](const auto& one) { return gone(folders, one.first); }) > 0;
            news |= std::erase_if(troubles_, [&](const auto& one) { return gone(folders, one.first); }) > 0;
            if (folders.empty()) {
                news |=
                    set_trouble(folder_, Error(ENOENT, fmt::format("there is no {} below {}", kCertificate, folder_)));
            }
            for (const auto& folder : folders) {
                news |= take(folder, load(folder));
            }
            if (!news) {
                return;
            }
            ++generation_;
            publish_trust();
            changed = changed_;
        }
        if (changed) {
            changed();
        }
    }

    static bool gone(const std::vector<std::string>& folders, const std::string& folder) {
        return std::ranges::find(folders, folder) == folders.end();
    }

    bool set_trouble(const std::string& folder, const Error& error) {
        const auto text = std::pair(error.code(), error.message());
        return std::exchange(troubles_[folder], text) != text;
    }

    bool take(const std::string& folder, Result<Loaded> loaded) {
        if (!loaded) {
            return set_trouble(folder, loaded.error());
        }
        const bool was_bad = troubles_.erase(folder) > 0;
        const auto known = good_.find(folder);
        if (known != good_.end() && same(known->second, *loaded)) {
            return was_bad;
        }
        good_.insert_or_assign(folder, std::move(*loaded));
        return true;
    }

    static bool same(const Loaded& a, const Loaded& b) {
        const auto equal = [](const auto& one, const auto& other) {
            return std::ranges::equal(one, other,
                                      [](const auto& x, const auto& y) { return X509_cmp(x.get(), y.get()) == 0; });
        };
        return equal(a.svid.chain, b.svid.chain) && equal(a.roots, b.roots);
    }

    void publish_trust() {
        auto trust = std::make_shared<Trust>();
        trust->version = generation_;
        for (const auto& [folder, loaded] : good_) {
            for (const auto& root : loaded.roots) {
                auto& list = trust->roots[loaded.id.trust_domain];
                const bool known =
                    std::ranges::any_of(list, [&](const auto& one) { return X509_cmp(one.get(), root.get()) == 0; });
                if (!known) {
                    list.push_back(ktls::share(root.get()));
                }
            }
        }
        trust_ = std::move(trust);
    }

    /// What cannot be watched is found by looking again.
    void watch(const std::vector<std::string>& folders) {
        (void)watch_.add(folder_);
        for (const auto& folder : folders) {
            (void)watch_.add(folder);
        }
    }

    void loop() {
        while (true) {
            pollfd ready[2] = {{watch_.fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
            if (::poll(ready, 2, kRescanMs) < 0 && errno != EINTR) {
                return; // ENOMEM: nothing here can mend it
            }
            if ((ready[1].revents & POLLIN) != 0) {
                return;
            }
            bool overflow = false;
            (void)watch_.drain(overflow); // which file it was does not matter
            reload();
        }
    }

    const std::string folder_;
    source::FolderWatch watch_; ///< of the thread, once it runs
    const UniqueFd wake_;
    mutable std::mutex mutex_; ///< guards what follows
    std::function<void()> changed_;
    std::map<std::string, Loaded> good_;                             ///< by folder
    std::map<std::string, std::pair<int, std::string>> troubles_; ///< by folder
    std::uint64_t generation_ = 0;
    TrustPtr trust_;
    std::thread thread_;
};

} // namespace

Result<std::unique_ptr<Source>> open_files_source(const std::string& folder) {
    WEFT_ASSIGN(auto watch, source::FolderWatch::open());
    WEFT_TRY(watch.add(folder));
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake.valid()) {
        return system_failure("make an eventfd");
    }
    return std::make_unique<FilesSource>(folder, std::move(watch), std::move(wake));
}

} // namespace weft::identity
