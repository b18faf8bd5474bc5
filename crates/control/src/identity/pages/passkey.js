// Asks the browser for a security key or passkey, and sends its answer with the form that asked. Without it a password and codes work.
(() => {
  "use strict";
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const ids = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  const read = (options) => {
    const own = { ...options, challenge: bytes(options.challenge) };
    if (own.user) own.user = { ...own.user, id: bytes(own.user.id) };
    if (own.excludeCredentials) own.excludeCredentials = ids(own.excludeCredentials);
    if (own.allowCredentials) own.allowCredentials = ids(own.allowCredentials);
    return own;
  };

  const told = (credential) => {
    const { response } = credential;
    const own = { clientDataJSON: text(response.clientDataJSON) };
    if (response.attestationObject) {
      own.attestationObject = text(response.attestationObject);
      own.transports = response.getTransports ? response.getTransports() : [];
    } else {
      own.authenticatorData = text(response.authenticatorData);
      own.signature = text(response.signature);
      own.userHandle = response.userHandle ? text(response.userHandle) : null;
    }
    return JSON.stringify({ id: credential.id, type: credential.type, response: own });
  };

  if (!window.PublicKeyCredential) return;
  for (const form of document.querySelectorAll("form[data-key]")) {
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        const publicKey = read(JSON.parse(form.dataset.key));
        const ask = publicKey.user ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey });
        form.elements.credential.value = told(await ask);
        form.submit();
      } catch (error) {
        const say = form.querySelector("[role=alert]");
        say.textContent = "The browser did not give a key (" + error.name + "). Try again, or use another way.";
        button.disabled = false;
      }
    });
  }
})();
