// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How the weft-ca command reaches an authority: by its socket when one serves, else by opening the folder itself. Both
// answer alike.
#pragma once

#include <memory>
#include <string>

#include "agent/ca/issuer.hpp"

namespace weft::ca {

class Client {
public:
    /// Errors: ENOENT no authority there, EPERM, EBUSY when another command has the folder, ECONNREFUSED.
    static Result<std::unique_ptr<Client>> open(const std::string& folder);
    virtual ~Client() = default;

    virtual Result<ShowResponse> show() = 0;
    virtual Result<ShowResponse> rotate(const RotateRequest& request) = 0;
    virtual Result<RevokeResponse> revoke(const RevokeRequest& request) = 0;
    virtual Result<CreateTokenResponse> create_token(const CreateTokenRequest& request) = 0;
    virtual Result<IssueResponse> issue(const IssueRequest& request) = 0;
};

} // namespace weft::ca
