"""The walk of an administrator who has never seen these pages, from the mail of the invitation to the day the provider is away: people,
a role, a group, two factors for everybody, the domain, single sign-on, a key. Nothing of it uses the API but what others do: the operator
who invites, the people who accept, the name servers, the provider."""

import glob
import json
import os
import subprocess
import urllib.error
import urllib.request

from surroundings import Provider

CHIEF = "chief@acme.example"
ORGANISATION = "/account/organisation"


def page(name):
    return f"{ORGANISATION}/{name}"


class Walk:
    def __init__(self, server, browser, dns, tools):
        self.server, self.browser, self.dns, self.tools = server, browser, dns, tools
        self.url, self.has, self.step = server.url, tools.has, tools.step

    def sees(self, what, text):
        self.browser.sees(what, self.has(text))

    def follow(self, text):
        """Presses the link that says so."""
        found = f"[...document.querySelectorAll('a')].find((one) => one.textContent.trim() === {json.dumps(text)})"
        self.browser.sees(f"a link {text}", f"!!{found}")
        self.browser.run(f"{found}.click(), true")

    def tick(self, form, value):
        script = f"document.querySelector({json.dumps(form)}).querySelector('input[value=\"{value}\"]').checked = true"
        self.browser.run(script)

    def shows(self, name):
        self.browser.pictures(self.tools.folder, name)

    def goes(self, name, text):
        self.browser.open(self.url + page(name))
        self.sees(f"the page {name}", text)

    def tells(self, what):
        self.tools.told(what)

    def invite(self, mail, roles):
        """What others do: the operator invites, and somebody accepts without a browser."""
        self.server.call("/v1/invitations?tenant=acme", {"email": mail, "roles": roles})

    def accepts(self, mail, name):
        token = self.tools.until("the invitation is mailed", lambda: self.server.mailed_link(mail))
        accept = {"token": token, "full_name": name, "password": self.tools.password}
        self.server.call("/v1/invitations/accept", accept)

    def ages(self):
        """As if the person had shown who they are a while ago; a browser has no clock that can be moved."""
        psql = sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]
        folder = os.path.join(self.server.home, "postgres")
        owner = os.stat(os.path.join(folder, "cluster")).st_uid
        sql = "UPDATE identity.sessions SET auth_time = auth_time - interval '20 minutes' WHERE ended_at IS NULL"
        words = [psql, "-XAtw", "-h", os.path.join(folder, "socket"), "-U", "rowhouse_super", "-d", "rowhouse", "-c", sql]
        as_owner = {"user": owner} if os.geteuid() == 0 else {}
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/", **as_owner)

    def signs_in(self, mail):
        """In two steps, as the pages ask."""
        self.browser.submit(self.tools.sign_in, identifier=mail)
        self.browser.sees("the password is asked for", "!!document.querySelector('input[name=password]')")
        self.browser.submit(self.tools.sign_in, identifier=mail, password=self.tools.password)

    # What the administrator does.

    def arrives(self):
        self.invite(CHIEF, ["tenant_admin"])
        token = self.tools.until("the invitation is mailed", lambda: self.server.mailed_link(CHIEF))
        self.browser.send("Network.clearBrowserCookies", {})
        self.browser.open(f"{self.url}/account/invitation?token={token}")
        self.sees("the invitation", "You are invited")
        self.shows("invitation")
        form = "form[action='/account/invitation']"
        self.browser.submit(form, full_name="Cleo <i>Chief</i>", password="too short")
        self.sees("why not", "at least 15 characters")
        self.browser.submit(form, full_name="Cleo <i>Chief</i>", password=self.tools.password)
        self.sees("welcome", "You belong to Acme now.")
        self.shows("invited")
        self.follow("Sign in")
        self.sees("the first step", "Go on")
        self.shows("sign_in_address")
        self.signs_in(CHIEF)
        self.sees("the account", "Cleo <i>Chief</i>")
        self.follow("Your organisation")
        self.sees("the people", "Invite somebody")
        self.tells("an administrator comes by the mailed link and finds the organisation's pages")

    def staffs(self):
        for mail in ["ben@acme.example", "dora@acme.example"]:
            self.browser.submit(self.step("invite"), email=mail)
            self.sees("the invitation is listed", mail)
        self.shows("people")
        self.accepts("ben@acme.example", "Ben Bright")
        self.accepts("dora@acme.example", "Dora Dale")
        self.tells("invites two people")

        self.goes("roles", "Make a role")
        self.tick(self.step("make"), "metadata_stamp:create")
        self.browser.submit(self.step("make"), name="stamp-clerk", title="Clerk of stamps")
        self.sees("the role is made", "The role is made.")
        self.shows("roles")
        self.browser.open(f"{self.url}{page('roles')}?one=stamp-clerk")
        self.sees("one role", "Change the role")
        self.tick(self.step("change"), "metadata_stamp:read")
        self.browser.submit(self.step("change"))
        self.sees("the role is changed", "The role is changed")
        self.shows("role")
        self.tells("makes a role from what there is, and changes it")

        self.goes("people", "Ben Bright")
        self.browser.run("document.querySelector('a[aria-label=\"Open ben@acme.example\"]').click(), true")
        self.sees("one person", "Belonging here")
        self.browser.submit(self.step("give"), role="stamp-clerk", until="2999-12-31")
        self.sees("until when", "3000-01-01")
        self.browser.submit(self.step("give"), role="viewer")
        self.sees("without end", "without end")
        self.shows("person")
        self.tells("gives a role until a day, and one without end")

        self.goes("groups", "Make a group")
        self.browser.submit(self.step("make"), name="night-shift", title="Night shift")
        self.sees("the group", "Nobody is in it yet.")
        self.shows("groups")
        self.follow("Open")
        self.sees("one group", "What everybody in it has")
        chosen = "[...document.querySelectorAll('#member option')].find((one) => one.textContent.startsWith('Dora')).value"
        self.browser.submit(self.step("add"), member=self.browser.run(chosen))
        self.sees("she is in it", "They are in the group")
        self.browser.submit(self.step("give"), role="stamp-clerk")
        self.sees("it has the role", "Everybody in the group has the role.")
        self.shows("group")
        self.tells("makes a group, puts somebody in and gives it the role")

    def watches_over(self):
        browser = self.browser
        self.goes("constraints", "Nothing is kept apart yet.")
        for role in ["stamp-clerk", "viewer"]:
            self.tick(self.step("make"), role)
        browser.submit(self.step("make"), name="make-and-look")
        self.sees("who has both", "Ben Bright (ben@acme.example) has viewer and stamp-clerk")
        self.shows("constraints_refused")
        for role in ["stamp-clerk", "viewer"]:
            self.tick(self.step("make"), role)
        browser.submit(self.step("make"), name="make-and-look", kind="dynamic")
        self.sees("what it means", "acts in one of them at a time")
        self.shows("constraints")
        self.tells("keeps roles apart, and is told who has both already")

        people = self.server.call("/v1/users?tenant=acme")["items"]
        own = next(one["id"] for one in people if one["email"] == CHIEF)
        for role in ["stamp-clerk", "viewer"]:
            self.server.call("/v1/grants?tenant=acme", {"principal": {"kind": "user", "id": own}, "role": role})
        browser.open(f"{self.url}/account")
        self.sees("what there is to choose", "What you act in")
        self.shows("account_acting")
        self.tick("form[action='/account/acting']", "viewer")
        browser.submit("form[action='/account/acting']")
        browser.sees("it is chosen", "document.querySelector(\"input[value='viewer']\")?.checked === true")
        self.tells("acts in one of two roles that exclude each other")

        self.goes("approvals", "Nothing waits.")
        self.shows("approvals_none")
        browser.submit(self.step("by_two"))
        self.sees("it is on", "It takes two people from now on.")
        browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        browser.submit(self.step("by_one"))
        self.sees("it waits", "It waits for a second person now.")
        self.shows("approvals")
        browser.submit(self.step("withdraw"))
        self.sees("it is over", "It is taken back.")
        self.shows("approvals_decided")
        self.tells("asks for two people, and takes back that one is enough")

        self.goes("ask", "You need more for a while?")
        browser.submit(self.step("ask"), role="developer", minutes="240", reason="To see what developers see")
        self.sees("it is asked for", "It is asked for.")
        self.sees("it waits", "waits for somebody who can give it")
        self.shows("ask")
        browser.run("location.reload(), true")
        browser.sees("loading again tells nothing twice", f"!({self.has('It is asked for.')}) && {self.has('240 minutes')}")
        browser.submit(self.step("withdraw"))
        self.sees("it is over", "taken back")
        self.shows("ask_over")
        self.tells("asks for a role for four hours, loads the page again, and takes it back")

        self.goes("audit", "Settings changed")
        browser.run("document.querySelector('details').open = true")
        self.shows("audit")
        browser.submit("form[action='/account/organisation/audit']", event="access.constraint_changed")
        self.sees("what was looked for", "Constraint changed")
        browser.sees("and nothing else", f"!({self.has('Settings changed')})")
        self.follow("Open")
        self.sees("one event", "SHA-256 of the leaf")
        self.tools.until("it is proven", self.is_proven)
        browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        self.shows("audit_event")
        self.tells("reads the log, looks for an event and sees its proof")

    def is_proven(self):
        self.browser.run("location.reload(), true")
        self.sees("the event", "SHA-256 of the leaf")
        return self.browser.run(self.has("Proven."))

    def asks_for_two_factors(self):
        self.goes("sign_in", "Show whom it touches")
        self.browser.submit(self.step("preview"), mfa="required", days="0")
        self.sees("why not", "You do not meet it yourself")
        self.shows("policy_refused")
        self.browser.submit(self.step("preview"), mfa="required", days="14")
        self.sees("whom it touches", "Nobody would be locked out.")
        self.shows("policy")
        self.ages()
        self.browser.submit(self.step("set"))
        self.sees("a proof on the way", "What you typed is kept")
        self.shows("step_up")
        self.browser.submit(self.step("step_up"), present="not my password")
        self.sees("it was wrong", "Is it still you?")
        self.browser.submit(self.step("step_up"), present=self.tools.password)
        self.sees("what was sent is done", "It is asked from now on.")
        assert self.server.call("/v1/sign_in_policy?tenant=acme")["mfa"] == "required"
        self.tells("looks at whom two factors for everybody touch, and asks for them, with a proof on the way")

    def proves_the_domain(self):
        self.goes("connections", "First prove the domain")
        self.goes("domains", "Claim a domain")
        self.shows("domains_none")
        self.browser.submit(self.step("claim"), name="acme.example")
        self.sees("the record", "_rowhouse.acme.example")
        self.browser.submit(self.step("verify"))
        self.sees("it is not there", "there is no TXT record")
        self.shows("domains_pending")
        shown = self.browser.run("[...document.querySelectorAll('dl code')].map((one) => one.textContent)")
        self.dns.records[shown[1].rstrip(".")] = shown[2]
        self.browser.submit(self.step("verify"))
        self.sees("it is proven", "the domain is yours here")
        self.shows("domains")
        self.tells("proves the domain by the record that the page shows")

    def connects(self):
        provider = Provider(self.tools.free_port())
        try:
            self.goes("connections", "Step 1")
            self.browser.submit(self.step("begin"), name="Acme <b>login</b>", issuer=provider.url)
            self.sees("the provider is found", "Step 2")
            self.shows("connection_new")
            redirect = self.browser.run("document.querySelector('dl code').textContent")
            provider.stop()
            provider = Provider(provider.port, redirect)
            self.browser.submit(self.step("client"), client_id="rowhouse", client_secret=Provider.SECRET)
            self.sees("it is kept", "Kept. Now test it.")
            self.browser.submit(self.step("test"))
            self.follow("Sign in at the provider, for the test")
            self.logs_in("chief")
            self.sees("the test", "It works. Nobody was signed in.")
            self.shows("connection_tested")
            self.follow("Back to single sign-on")
            self.sees("it got through", "The last test got through.")
            self.browser.submit(self.step("on"))
            self.sees("it is on", "It stands on your sign-in page now.")
            self.shows("connections")
            self.tells("connects the provider, tests it and turns it on")
            self.enforces()
            self.people_come()
        finally:
            provider.stop()

    def logs_in(self, name):
        """At the provider's own pages."""
        self.browser.sees("the provider", "location.pathname.startsWith('/interaction/') && !!document.querySelector('input[name=login]')")
        self.browser.submit("form", login=name, password="x")
        self.browser.sees("its consent", "!!document.querySelector('input[name=prompt][value=consent]')")
        self.browser.submit("form:has(input[name=prompt][value=consent])")

    def enforces(self):
        browser = self.browser
        self.goes("sign_in", "Show whom it touches")
        browser.submit(self.step("preview"), single_sign_on="enforced")
        self.sees("not without a passkey", "No administrator has a passkey")
        # Another device than that of who was here before: a browser has one of its own at a time.
        browser.send("WebAuthn.disable", {})
        browser.send("WebAuthn.enable", {})
        browser.authenticator(verifies=True)
        browser.open(f"{self.url}/account")
        self.sees("the account", "Add a passkey")
        self.shows("account_administrator")
        browser.submit(f"{self.step('add_key')}:has(input[value=passkey])")
        self.sees("the page that makes a passkey", "Your browser asks for fingerprint")
        browser.submit("form[data-key]")
        self.sees("recovery codes", "Keep these recovery codes")
        self.goes("sign_in", "Show whom it touches")
        browser.submit(self.step("preview"), single_sign_on="enforced")
        self.sees("it can be set", "Set it")
        browser.submit(self.step("set"))
        self.sees("it is set", "It is asked from now on.")
        self.tells("makes it the only way in, once there is a passkey for the day it is away")

    def people_come(self):
        browser = self.browser
        browser.send("Network.clearBrowserCookies", {})
        browser.open(f"{self.url}/account/sign_in")
        browser.submit(self.tools.sign_in, identifier="nora@acme.example")
        self.logs_in("nora")
        self.sees("who has never been here", "nora of Acme")
        assert browser.run("location.origin") == self.url
        self.shows("account_person")
        assert not browser.run(self.has("Your organisation")), "a plain person has no pages of the organisation"
        self.tells("a person of the domain types the address, is led to the provider and comes in")

    def comes_alone(self):
        """The provider is away: the administrator comes in with the passkey, and with nothing less."""
        browser = self.browser
        browser.send("Network.clearBrowserCookies", {})
        browser.open(f"{self.url}/account/sign_in?with=password")
        browser.submit(self.tools.sign_in, identifier="ben@acme.example", password=self.tools.password)
        browser.sees("not by a password", "!!document.querySelector('[role=alert]')")
        browser.open(f"{self.url}/account/sign_in")
        browser.submit("form[data-key]")
        self.sees("in by the passkey", "Sign out")
        self.tells("with the provider away, the administrator comes in with the passkey, and nobody with a password")

    def makes_a_key(self):
        self.goes("keys", "Make a service account")
        self.browser.submit(self.step("account"), name="reporting", description="Counts stamps every night")
        self.sees("the account", "Give it a role")
        self.browser.submit(self.step("give"), role="tenant_admin")
        self.sees("the role", "The role is given.")
        self.browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        self.tick(self.step("make"), "tenant_admin")
        self.browser.submit(self.step("make"), name="nightly")
        self.sees("the key", "It is shown now and never again")
        self.shows("keys_made")
        key = self.browser.run("document.querySelector('.secret code').textContent")
        read = urllib.request.Request(f"http://127.0.0.1:{self.server.port}/v1/groups", headers={"authorization": f"Bearer {key}"})
        listed = self.tools.until("the key is good", lambda: answer(read))
        assert [one["name"] for one in listed["items"]] == ["night-shift"], listed
        self.goes("keys", "nightly")
        assert not self.browser.run(self.has(key)), "shown once"
        self.browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        self.shows("keys")
        self.browser.submit(self.step("revoke"), reason="it was a trial")
        self.sees("it is over", "for ever")
        self.tells("makes a service account and a key, which works, is shown once and is revoked")

    def whole(self):
        self.arrives()
        self.staffs()
        self.watches_over()
        self.asks_for_two_factors()
        self.proves_the_domain()
        self.connects()
        self.comes_alone()
        self.makes_a_key()


def answer(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as told:
            return json.load(told)
    except urllib.error.HTTPError:
        return None
