//! What a client says of itself while the session runs: its device's state, and a token that renews
//! the session's.

use std::time::Duration;

use synchub_protocol::client::{AppState, NetworkQuality, Settings, Token};
use synchub_protocol::server::{SettingsApplied, TokenAccepted};
use synchub_protocol::{CloseReason, ServerFrame, Timestamp};
use tokio::time::Instant;

use super::connected::Session;
use crate::auth::Role;

/// The state of a device, as far as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OwnState {
    /// Whether only what is urgent is wanted at once.
    pub(super) battery_saver: bool,
    pub(super) network_quality: NetworkQuality,
    /// In the background works like battery saver.
    pub(super) app_state: AppState,
}

impl OwnState {
    /// Takes what was said; the rest stays.
    fn take(&mut self, settings: &Settings) {
        self.battery_saver = settings.battery_saver.unwrap_or(self.battery_saver);
        self.app_state = settings.app_state.unwrap_or(self.app_state);
        if let Some(quality) = &settings.network_quality {
            self.network_quality = quality.clone();
        }
    }
}

impl Session {
    /// Takes the device's new state and says what holds now.
    pub(super) fn on_settings(&mut self, settings: &Settings) -> Result<(), CloseReason> {
        if self.identity.role != Role::Device {
            return self.forbid(Some(settings.id), "only devices have settings");
        }
        self.own_state.take(settings);
        let OwnState { battery_saver, network_quality, app_state } = self.own_state.clone();
        self.say(&ServerFrame::SettingsApplied(SettingsApplied {
            id: settings.id,
            battery_saver,
            network_quality,
            app_state,
        }))
    }

    /// Renews the session's token; one that is no good changes nothing.
    pub(super) fn on_token(&mut self, token: &Token) -> Result<(), CloseReason> {
        let now_us = self.deps.clock.now_us();
        let renewed = match self.deps.verifier.verify(&token.token, now_us) {
            Ok(renewed) => renewed,
            Err(error) => return self.forbid(Some(token.id), &format!("the token was refused: {error}")),
        };
        if !self.identity.may_become(&renewed) {
            let message =
                "the token names another tenant, user, unit, device, role or rights; reconnect with it";
            return self.forbid(Some(token.id), message);
        }
        let left = u64::try_from(renewed.expires_us - now_us).unwrap_or(0);
        self.timers.renew(Instant::now() + Duration::from_micros(left));
        let expires_at = Timestamp(renewed.expires_us);
        self.identity = renewed;
        self.say(&ServerFrame::TokenAccepted(TokenAccepted { id: token.id, expires_at }))
    }
}
