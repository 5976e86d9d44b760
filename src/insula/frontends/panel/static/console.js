// The serial console: bytes both ways over a WebSocket, which a ticket opens once.
(() => {
  "use strict";
  const place = document.querySelector("#console");
  const told = document.querySelector("#console-state");
  const again = document.querySelector("#console-again");
  const terminal = new Terminal({ cursorBlink: true, scrollback: 5000, fontSize: 14, screenReaderMode: true, theme: { background: "#0b1220", foreground: "#e6edf6" } });
  const fit = new FitAddon.FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  terminal.write(document.querySelector("#console-log").textContent.replace(/\n/g, "\r\n"));
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(place);

  let socket = null;
  const say = (text) => { told.textContent = text; };
  const connect = (ticket) => {
    const address = new URL(place.dataset.socket, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.searchParams.set("ticket", ticket);
    socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    say("connecting");
    socket.addEventListener("open", () => { say("connected"); again.hidden = true; terminal.focus(); });
    socket.addEventListener("message", (event) => terminal.write(new Uint8Array(event.data)));
    socket.addEventListener("close", (event) => { say(event.reason || "not connected"); again.hidden = false; });
  };
  const send = (text) => { if (socket && socket.readyState === WebSocket.OPEN) socket.send(new TextEncoder().encode(text)); };
  terminal.onData(send);
  again.addEventListener("click", async () => {
    const token = JSON.parse(document.body.getAttribute("hx-headers"))["x-token"];
    const answer = await fetch(place.dataset.again, { method: "POST", headers: { "x-token": token, "content-type": "application/x-www-form-urlencoded" } });
    if (answer.ok) connect(await answer.text());
    else say("it cannot be connected now");
  });
  document.querySelector("#console-paste").addEventListener("click", async () => {
    terminal.paste(await navigator.clipboard.readText());
    terminal.focus();
  });
  document.querySelector("#console-full").addEventListener("click", () => place.requestFullscreen());
  connect(place.dataset.ticket);
})();
