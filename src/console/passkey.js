// Passkeys, by the browser's own functions (WebAuthn Level 3 §5.1.10). In: options as JSON. Out: the credential as
// JSON. Never looks into either.

/** @param {any} options @returns {Promise<object>} For this action and fingerprint alone. */
export async function assertionFor(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options)
  return jsonOf(await navigator.credentials.get({ publicKey }))
}

/** @param {any} options @returns {Promise<object>} A new passkey. */
export async function newPasskey(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options)
  return jsonOf(await navigator.credentials.create({ publicKey }))
}

/** @param {Credential | null} credential */
function jsonOf(credential) {
  if (!(credential instanceof PublicKeyCredential)) throw new Error('The browser gave no passkey.')
  return credential.toJSON()
}
