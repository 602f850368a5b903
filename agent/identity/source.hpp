// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where certificates come from: weft-ca, files, or a server that speaks the SPIFFE Workload API. What a source hands
// over is judged by the Keeper; a source says where it came from and why it failed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ca/pki/certificate.hpp"
#include "weft/base/result.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::identity {

using ktls::OsslPtr;
using pki::Time;

/// A key and its certificates, leaf first.
struct Svid {
    OsslPtr<EVP_PKEY> key;
    std::vector<OsslPtr<X509>> chain;
};

/// What nobody may accept any more.
struct Revocations {
    std::set<std::string, std::less<>> serials; ///< upper case hex digits
    std::set<std::string, std::less<>> ids;     ///< SPIFFE IDs

    [[nodiscard]] bool contains(std::string_view id, std::string_view serial) const {
        return ids.contains(id) || serials.contains(serial);
    }
};

/// Whom to believe, as one source knows it. Immutable once it is shared.
struct Trust {
    std::uint64_t version = 0; ///< of the source; only for messages
    ktls::TrustBundles roots;
    Revocations revocations;
    /// The root that signs now; certificates from another one are renewed soon. Null: any is fine.
    OsslPtr<X509> signing_root;
};
using TrustPtr = std::shared_ptr<const Trust>;

/// Thread: one at a time calls upkeep(), obtain() and applied(); the rest is for any thread.
class Source {
public:
    virtual ~Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    /// "weft-ca ca.example:8443", for people.
    [[nodiscard]] virtual std::string name() const = 0;
    /// `changed` is called, from any thread, when trust() or what obtain() gives became new. Call once, first.
    virtual void listen(std::function<void()> changed) = 0;
    /// Regular work: joining, renewing what the source itself needs. May block some seconds. An error means that
    /// obtain() would fail too.
    virtual Result<> upkeep(Time now) = 0;
    /// A key and certificate for `id`; may block some seconds. Errors: ENOENT this source has none, EACCES refused,
    /// ECONNREFUSED or ETIMEDOUT it does not answer (then it need not be asked for others).
    virtual Result<Svid> obtain(const SpiffeId& id) = 0;
    /// The source renews by itself: it is asked again when generation() grows, not when a certificate nears its end.
    [[nodiscard]] virtual bool renews_itself() const { return false; }
    /// Grows when obtain() would give something new.
    [[nodiscard]] virtual std::uint64_t generation() const { return 0; }
    /// Null as long as nothing is known.
    [[nodiscard]] virtual TrustPtr trust() const = 0;
    /// New connections believe `trust` from now on.
    virtual void applied(const TrustPtr& trust) { (void)trust; }

protected:
    Source() = default;
};

} // namespace weft::identity
