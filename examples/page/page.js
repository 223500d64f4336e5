// No token is in reach of a script: both are in HttpOnly cookies.  So the server is
// asked who is logged in, and says how many seconds the token lives.
"use strict";

const RETRY_MS = 3000;
const SHOWN_CALLS = 20;

const $ = (id) => document.getElementById(id);
const clock = () => new Date().toTimeString().slice(0, 8);
let user = null;
let ends = 0; // when the token does, in ms
let life = 0; // of a token, in s
let due = Infinity; // when it is renewed, in ms
let renewals = 0;
let socket = null;

async function call(method, path, sent) {
  const headers = { "Content-Type": "application/json" };
  const options = sent && { headers, body: JSON.stringify(sent) };
  const answer = { status: 0, ok: false, told: "no answer" };
  try {
    const response = await fetch(path, { method, ...options });
    const isJson = response.headers.get("Content-Type") === "application/json";
    answer.told = await (isJson ? response.json() : response.text());
    ({ status: answer.status, ok: answer.ok } = response);
  } catch {} // away, or cut off
  log(method, path, answer);
  return answer;
}

// As call, but with a new token where the old one has ended.
async function ask(method, path) {
  const answer = await call(method, path);
  const wantsLogin = answer.told.error === "insufficient_user_authentication";
  if (answer.status !== 401 || wantsLogin) return answer;
  return (await renew()) ? call(method, path) : answer;
}

async function renew() {
  const { ok, status, told } = await call("POST", "/session/refresh");
  if (ok) {
    $("renewals").textContent = ++renewals;
    $("renewed").textContent = clock();
    count(told.expires_in);
  } else if (status === 400 || status === 401) { // a 503 ends no session
    showLogin(user && "Your session has ended, here or elsewhere. Please log in again.");
  }
  return ok;
}

async function load() {
  const { ok, told } = await ask("GET", "/me");
  if (ok) showAccount(told);
  else if (!user) showLogin("The server cannot tell at the moment who is logged in.");
  if (user) connect();
}

function count(seconds) {
  life = Math.max(life, seconds);
  ends = Date.now() + seconds * 1000;
  due = ends - Math.min(5, life / 4) * 1000;
  tick();
}

function tick() {
  const left = Math.max(0, Math.ceil((ends - Date.now()) / 1000));
  $("seconds").textContent = left;
  $("ring").setAttribute("stroke-dashoffset", life ? 1 - left / life : 1);
  if (Date.now() < due) return;
  due = Date.now() + RETRY_MS;
  renew();
}

// A WebSocket falls when its token ends; load finds out whether the session goes on.
function connect() {
  if (socket?.readyState <= WebSocket.OPEN) return;
  const opened = (socket = new WebSocket(location.origin.replace("http", "ws") + "/ws"));
  let wait = RETRY_MS;
  opened.onmessage = (event) => {
    wait = 0;
    showSocket(`open: “${event.data}”`);
  };
  opened.onclose = () => {
    if (opened !== socket) return;
    showSocket("closed");
    setTimeout(load, wait);
  };
}

function hangUp() {
  socket?.close();
  socket = null;
  showSocket("closed");
}

function showSocket(text) {
  $("socket").textContent = text;
  $("dot").classList.toggle("on", text !== "closed");
}

function showAccount(told) {
  if (told.user !== user) hangUp(); // another tab may have logged in somebody else
  user = $("user").textContent = told.user;
  $("scopes").replaceChildren(...told.scopes.map((scope) => create("li", scope)));
  count(told.expires_in);
  $("account").hidden = false;
  if (!$("login").hidden) $("user").focus();
  $("login").hidden = true;
}

function showLogin(notice) {
  user = null;
  due = Infinity;
  if (!$("login").hidden) return; // somebody may be writing
  hangUp();
  life = renewals = $("renewals").textContent = 0;
  $("renewed").textContent = "none yet";
  $("account").hidden = true;
  $("login").hidden = false;
  tell("notice", notice);
  $("name").focus();
}

function tell(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

function log(method, path, { status, ok, told }) {
  const text = typeof told === "string" ? told : JSON.stringify(told);
  const row = create("li");
  row.append(create("b", status || "–", ok ? "good" : "bad"));
  row.append(create("code", `${method} ${path}`), create("time", clock()));
  if (text) row.append(create("code", text, "answer"));
  $("log").prepend(row);
  $("log").children[SHOWN_CALLS]?.remove();
}

function create(name, textContent = "", className = "") {
  return Object.assign(document.createElement(name), { textContent, className });
}

async function logIn(event) {
  event.preventDefault();
  const sent = { name: $("name").value, password: $("password").value };
  const { ok, told } = await call("POST", "/login", sent);
  tell("notice", "");
  tell("wrong", ok ? "" : told.error_description ?? told);
  if (!ok) return $("password").select();
  $("login").reset();
  await load();
  if (!user) tell("wrong", "The browser keeps no cookie of http but for localhost.");
}

async function logOut(path) {
  hangUp(); // or the server does, which looks like the doing of another tab
  const { ok } = await ask("POST", path);
  if (ok) showLogin("You have logged out.");
  else if (user) connect();
}

$("login").addEventListener("submit", logIn);
$("logout").addEventListener("click", () => logOut("/session/end"));
$("everywhere").addEventListener("click", () => logOut("/logout/everywhere"));
for (const button of document.querySelectorAll("[data-call]")) {
  button.addEventListener("click", () => ask(...button.dataset.call.split(" ")));
}
document.addEventListener("visibilitychange", () => document.hidden || load());
setInterval(tick, 250);
load();
