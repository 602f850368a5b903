// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// libcurl for https, plain reads for files. Nothing but https is followed, also not by redirection.
#include "agent/identity/federation.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include <curl/curl.h>
#include <nlohmann/json.hpp>

#include "agent/identity/small_file.hpp"

namespace weft::identity {
namespace {

constexpr long kPatienceSeconds = 10;
constexpr std::chrono::seconds kFileInterval{5};
constexpr std::string_view kHttps = "https://";

struct CurlDelete {
    void operator()(CURL* p) const noexcept { curl_easy_cleanup(p); }
};

std::size_t take_bytes(char* data, std::size_t, std::size_t size, void* target) {
    auto& text = *static_cast<std::string*>(target);
    if (text.size() + size > kMostFileBytes) {
        return 0; // ends the transfer with an error
    }
    text.append(data, size);
    return size;
}

/// Called by libcurl at least once a second; anything but 0 ends the transfer.
int look_up(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<const std::atomic<bool>*>(stop)->load() ? 1 : 0;
}

Result<std::string> fetch(const FederatedDomain& domain, const std::atomic<bool>& stop) {
    const std::unique_ptr<CURL, CurlDelete> handle(curl_easy_init());
    if (!handle) {
        return failure(ENOMEM, "{}: no memory for a request", domain.location);
    }
    CURL* const curl = handle.get();
    std::string text;
    std::array<char, CURL_ERROR_SIZE> detail{};
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail.data());
    curl_easy_setopt(curl, CURLOPT_URL, domain.location.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, kPatienceSeconds);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); // signals and threads do not go together
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, static_cast<long>(kMostFileBytes));
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "weft/" WEFT_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_up);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &stop);
    if (!domain.ca_file.empty()) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, domain.ca_file.c_str());
        curl_easy_setopt(curl, CURLOPT_CAPATH, nullptr);
    }
    if (const auto code = curl_easy_perform(curl); code != CURLE_OK) {
        return failure(EIO, "{}: {}", domain.location, detail[0] != '\0' ? detail.data() : curl_easy_strerror(code));
    }
    return text;
}

Result<std::vector<OsslPtr<X509>>> read_domain(const FederatedDomain& domain, const std::atomic<bool>& stop) {
    WEFT_ASSIGN(const auto text,
                domain.location.starts_with(kHttps) ? fetch(domain, stop) : read_small_file(domain.location));
    auto roots = parse_bundle(text);
    return roots ? std::move(roots) : std::unexpected(roots.error().within(domain.location));
}

Result<std::string> from_base64(const std::string& text) {
    std::string bytes(text.size() / 4 * 3 + 3, '\0');
    const int size =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    if (size < 0 || text.size() % 4 != 0) {
        return invalid("x5c: no base64");
    }
    const auto padding = static_cast<std::size_t>(
        std::count(text.end() - std::min<std::ptrdiff_t>(2, std::ssize(text)), text.end(), '='));
    bytes.resize(static_cast<std::size_t>(size) - padding);
    return bytes;
}

Result<std::vector<OsslPtr<X509>>> parse_json(std::string_view text) {
    const auto object = nlohmann::json::parse(text, nullptr, false);
    const auto keys = object.is_object() ? object.find("keys") : object.end();
    if (!object.is_object() || keys == object.end() || !keys->is_array()) {
        return invalid("no PEM, and no SPIFFE bundle (a JSON object with 'keys')");
    }
    std::vector<OsslPtr<X509>> roots;
    for (const auto& key : *keys) {
        if (!key.is_object() || !key.contains("use") || key["use"] != "x509-svid") {
            continue; // a key for JWTs
        }
        const auto list = key.find("x5c");
        if (list == key.end() || !list->is_array() || list->size() != 1 || !list->front().is_string()) {
            return invalid("x5c: a key for x509-svid must have exactly one certificate");
        }
        WEFT_ASSIGN(const auto der, from_base64(list->front().get<std::string>()));
        WEFT_ASSIGN(auto root, pki::certificate_from_der(der));
        roots.push_back(std::move(root));
    }
    if (roots.empty()) {
        return invalid("the SPIFFE bundle has no key for x509-svid");
    }
    return roots;
}

} // namespace

Result<std::vector<OsslPtr<X509>>> parse_bundle(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    const bool json = first != std::string_view::npos && text[first] == '{';
    WEFT_ASSIGN(auto roots, json ? parse_json(text) : ktls::certificates_from_pem(text));
    for (const auto& root : roots) {
        if (X509_check_ca(root.get()) != 1) {
            return invalid("a certificate in the bundle is no CA's");
        }
    }
    return roots;
}

class Federation::Impl {
public:
    Impl(std::vector<FederatedDomain> domains, std::chrono::seconds interval)
        : domains_(std::move(domains)), interval_(interval), thread_([this] { loop(); }) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() {
        {
            const std::scoped_lock lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        thread_.join();
    }

    FederatedPtr current() const {
        const std::scoped_lock lock(mutex_);
        return current_;
    }
    std::vector<BundleState> states() const {
        std::vector<BundleState> all;
        const std::scoped_lock lock(mutex_);
        for (const auto& [domain, state] : states_) {
            all.push_back(state);
        }
        return all;
    }
    void listen(std::function<void()> changed) {
        const std::scoped_lock lock(mutex_);
        changed_ = std::move(changed);
    }
    void refresh() {
        {
            const std::scoped_lock lock(mutex_);
            asked_ = true;
        }
        wake_.notify_all();
    }

private:
    using Clock = std::chrono::steady_clock;
    struct Known {
        std::string der; ///< of all roots: what a change is seen by
        std::vector<OsslPtr<X509>> roots;
        std::string trouble;
        Clock::time_point due{};
    };

    /// True when roots or trouble are new.
    bool read(const FederatedDomain& domain, Known& known) {
        auto roots = read_domain(domain, stopping_);
        const auto trouble =
            roots ? std::string() : fmt::format("trust domain {}: {}", domain.trust_domain, roots.error().message());
        note(domain, roots ? roots->size() : known.roots.size(), roots.has_value(), trouble);
        const bool told = std::exchange(known.trouble, trouble) == trouble;
        if (!roots) {
            return !told;
        }
        std::string der;
        for (const auto& root : *roots) {
            der += pki::der_of(root.get()).value_or("");
        }
        if (der == known.der) {
            return !told;
        }
        known.der = std::move(der);
        known.roots = std::move(*roots);
        return true;
    }

    void note(const FederatedDomain& domain, std::size_t roots, bool read, const std::string& trouble) {
        const std::scoped_lock lock(mutex_);
        auto& state = states_[domain.trust_domain];
        state.trust_domain = domain.trust_domain;
        state.location = domain.location;
        state.roots = roots;
        state.trouble = trouble;
        if (read) {
            state.read_at = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
        }
    }

    void publish() {
        auto next = std::make_shared<Federated>();
        for (const auto& [domain, known] : known_) {
            for (const auto& root : known.roots) {
                next->roots[domain].push_back(ktls::share(root.get()));
            }
            if (!known.trouble.empty()) {
                next->troubles.push_back(known.trouble);
            }
        }
        std::function<void()> changed;
        {
            const std::scoped_lock lock(mutex_);
            current_ = std::move(next);
            changed = changed_;
        }
        if (changed) {
            changed();
        }
    }

    void loop() {
        bool all = true;
        while (true) {
            bool changed = false;
            auto next = Clock::now() + interval_;
            for (const auto& domain : domains_) {
                auto& known = known_[domain.trust_domain];
                if (all || Clock::now() >= known.due) {
                    changed |= read(domain, known);
                    known.due = Clock::now() + (domain.location.starts_with(kHttps)
                                                    ? interval_
                                                    : std::min<std::chrono::seconds>(kFileInterval, interval_));
                }
                next = std::min(next, known.due);
            }
            if (changed) {
                publish();
            }
            std::unique_lock lock(mutex_);
            wake_.wait_until(lock, next, [this] { return stopping_ || asked_; });
            if (stopping_) {
                return;
            }
            all = std::exchange(asked_, false);
        }
    }

    const std::vector<FederatedDomain> domains_;
    const std::chrono::seconds interval_;
    std::map<std::string, Known> known_; ///< of the thread
    mutable std::mutex mutex_;           ///< guards what follows
    std::condition_variable wake_;
    FederatedPtr current_ = std::make_shared<const Federated>();
    std::map<std::string, BundleState> states_;
    std::function<void()> changed_;
    bool asked_ = false;
    std::atomic<bool> stopping_ = false; ///< changed under the mutex; a transfer looks at it without
    std::thread thread_; ///< last: it uses all of the above
};

Federation::Federation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Federation::~Federation() = default;

Result<std::unique_ptr<Federation>> Federation::start(std::vector<FederatedDomain> domains,
                                                      const std::string& own_trust_domain,
                                                      std::chrono::seconds interval) {
    std::map<std::string, int> seen;
    for (const auto& domain : domains) {
        WEFT_TRY(check_trust_domain(domain.trust_domain));
        if (domain.trust_domain == own_trust_domain) {
            return invalid("federation: '{}' is our own trust domain", domain.trust_domain);
        }
        if (++seen[domain.trust_domain] > 1) {
            return invalid("federation: trust domain '{}' stands there twice", domain.trust_domain);
        }
        if (!domain.location.starts_with(kHttps) && !domain.location.starts_with("/")) {
            return invalid("federation: '{}' is neither an absolute path nor an https URL", domain.location);
        }
    }
    if (interval < std::chrono::seconds(1)) {
        return invalid("federation: an interval below a second");
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return std::unique_ptr<Federation>(new Federation(std::make_unique<Impl>(std::move(domains), interval)));
}

FederatedPtr Federation::current() const {
    return impl_->current();
}

std::vector<BundleState> Federation::states() const {
    return impl_->states();
}

void Federation::listen(std::function<void()> changed) {
    impl_->listen(std::move(changed));
}

void Federation::refresh() {
    impl_->refresh();
}

} // namespace weft::identity
