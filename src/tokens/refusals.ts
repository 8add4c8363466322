import { unauthorized } from '../problem.ts'

const refused = (code: string, detail: string, cause?: unknown) =>
  unauthorized(
    code,
    detail,
    `, error="invalid_token", error_description="${detail}"`,
    typeof cause === 'string' ? new Error(cause) : cause,
  )

/** No credential was sent, so there is no error code (RFC 6750, 3.1). */
export const missingToken = () => unauthorized('missing_token', 'Missing token')
/** @param cause the reason, for the log; the client gets the same answer for every reason */
export const invalidToken = (cause: unknown) => refused('invalid_token', 'Invalid token', cause)
export const tokenExpired = () => refused('token_expired', 'Token expired')
export const missingUserId = () => refused('missing_user_id', 'Invalid token: missing user_id')
